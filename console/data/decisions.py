"""What a threshold decides of a binary model: sums of the counts in `slices.json`.

Shares have Wilson's intervals (Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from slipway.pages.dots import Dot

if TYPE_CHECKING:
    from slipway.evaluation.results import Evaluation
    from slipway.evaluation.slice_details import SliceDetail

DECIDED = ("precision", "recall", "accuracy", "predicted_positive")
CUT = 0.5
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Judged:
    """The evaluation of one run; with the thresholds and details, by slice, of evaluations that are new enough."""

    run: str
    evaluation: Evaluation
    thresholds: list[float]
    details: dict[str, SliceDetail]
    data: str = ""
    version: int | None = None

    @property
    def title(self) -> str:
        """The version it became, or the run's name."""
        return f"version {self.version}" if self.version else self.run


class Matrix(NamedTuple):
    """Rows of a binary model at a threshold, or weights of them."""

    true_negatives: float
    false_positives: float
    false_negatives: float
    true_positives: float

    @property
    def total(self) -> float:
        """All rows."""
        return sum(self)

    def parts(self, metric: str) -> tuple[float, float]:
        """What a share of `DECIDED` is the quotient of."""
        positive = self.true_positives + self.false_positives
        return {
            "accuracy": (self.true_positives + self.true_negatives, self.total),
            "precision": (self.true_positives, positive),
            "recall": (self.true_positives, self.true_positives + self.false_negatives),
            "predicted_positive": (positive, self.total),
        }[metric]


def matrix_at(judged: Judged, name: str, threshold: float) -> Matrix | None:
    """The confusion matrix of a slice, where a score above the threshold is positive; None if it was not counted."""
    detail = judged.details.get(name)
    if detail is None or not detail.scores:
        return None
    place = bisect_right(judged.thresholds, threshold)
    (low, high), (missed, hit) = ((sum(counts[:place]), sum(counts[place:])) for counts in detail.scores)
    return Matrix(low, high, missed, hit)


def known_threshold(judged: Judged, threshold: float) -> float:
    """The threshold that was counted at: the nearest that is not above the wished one."""
    return judged.thresholds[bisect_right(judged.thresholds, threshold) - 1]


def decided(matrix: Matrix, metric: str, judged: Judged) -> Dot | None:
    """A share at a threshold, with Wilson's interval where rows count alike; None if it is undefined."""
    part, whole = matrix.parts(metric)
    if not whole:
        return None
    return Dot(part / whole, wilson(part, whole) if judged.evaluation.weight is None else None)


def wilson(part: float, whole: float) -> tuple[float, float]:
    """The 95 % score interval of a share."""
    share, square = part / whole, _Z**2 / whole
    middle = (share + square / 2) / (1 + square)
    reach = _Z * math.sqrt(share * (1 - share) / whole + square / whole / 4) / (1 + square)
    return max(0.0, middle - reach), min(1.0, middle + reach)
