"""Whether two shares differ by more than chance, and how many answers show a difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

_quantile = NormalDist().inv_cdf
# How often a difference of the size that a message names is found.
_POWER_QUANTILE = _quantile(0.95)


def chance(bad: int, of: int, other_bad: int, other_of: int) -> float:
    """Probability of this many bad answers of the first, or more, if both have the same share.

    Fisher's exact test, one-sided (R. A. Fisher, Statistical Methods for Research Workers, 1934, section 21.02): which
    of the bad ones are the first's is a draw without replacement. It holds for any number of answers, and for a
    threshold that was chosen by looking at both together.

    Returns:
        1 where the first's share is not the higher one.
    """
    all_bad, answers = bad + other_bad, of + other_of
    if bad * answers <= all_bad * of:
        return 1.0
    term = math.exp(_log_choose(all_bad, bad) + _log_choose(answers - all_bad, of - bad) - _log_choose(answers, of))
    tail = 0.0
    while term > tail * 1e-15:
        tail += term
        term *= (all_bad - bad) * (of - bad) / ((bad + 1) * (answers - all_bad - of + bad + 1))
        bad += 1
    return tail


def answers_needed(share: float, other_share: float, ratio: float, level: float) -> float:
    """Answers of the first that show such a difference in about 95 % of comparisons.

    J. L. Fleiss, A. Tytun, H. K. Ury, A simple approximation for calculating sample sizes for comparing independent
    proportions, Biometrics 36 (1980): the normal approximation, with the correction for exact tests.

    Args:
        share: The first's share of bad answers.
        other_share: The other's; if it is not lower, no number of answers is enough.
        ratio: Answers of the other for one of the first.
        level: The value of `chance` below which there is a difference.
    """
    apart = share - other_share
    if apart <= 0:
        return math.inf
    mean = (share + ratio * other_share) / (1 + ratio)
    spread = _quantile(1 - level) * math.sqrt((1 + ratio) * mean * (1 - mean))
    spread += _POWER_QUANTILE * math.sqrt(ratio * share * (1 - share) + other_share * (1 - other_share))
    plain = spread**2 / (ratio * apart**2)
    return plain / 4 * (1 + math.sqrt(1 + 2 * (1 + ratio) / (plain * ratio * apart))) ** 2


def smallest(needed: Callable[[float], float], answers: int, low: float, high: float) -> float:
    """The smallest difference from `low` to `high` that `answers` show, to about a hundredth; `high` if none is."""
    for _ in range(10):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if needed(middle) <= answers else (middle, high)
    return high


def _log_choose(of: int, taken: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(taken + 1) - math.lgamma(of - taken + 1)
