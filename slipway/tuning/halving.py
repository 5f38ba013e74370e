"""Successive halving: a trial that falls behind at a rung is ended there.

Source: K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS
2016, and, with trials that come one after the other, L. Li et al., "A System for Massively Parallel Hyperparameter
Tuning" (ASHA), MLSys 2020. Here a trial that was ended is not taken up again, and of fewer than `REDUCTION` trials at a
rung, the best goes on.

With folds, a rung looks at the first fold alone. What successive halving compares is a look that is cheap and noisy,
at a small part of what a whole trial costs; of k folds in turn, the first epochs of the first are the cheapest. All
trials are compared on the same rows of it, so that hard rows are hard for each. All folds together judge no better:
docs/decisions/0048-rows-that-choose-an-epoch-do-not-judge-it.md has the figures.
"""

from collections.abc import Iterable

REDUCTION = 3


def is_rung(epoch: int) -> bool:
    """Whether trials are compared after this epoch: after 1, 3, 9, 27 and so on."""
    while epoch % REDUCTION == 0:
        epoch //= REDUCTION
    return epoch == 1


def falls_behind(cost: float, earlier: Iterable[float]) -> bool:
    """Whether a cost is not among the best third, or the best one, of all at its rung."""
    others = list(earlier)
    return sum(other < cost for other in others) >= max(1, (len(others) + 1) // REDUCTION)
