"""Whether the candidate beats the constant model by more than chance: the one check that no threshold can waive.

The constant model is the best there is for the rows judged: their own mean label, or shares of the classes. No other
constant beats it, and that it was fitted to these rows only makes it harder to beat. What decides, each by a
one-sided 95 % bound:

- Binary, AUC - 1/2 > z s + c. s² is the larger of two variances: that of the rank sum under shuffled labels, with
  ties (Mann and Whitney, 1947, https://doi.org/10.1214/aoms/1177730491; Lehmann, Nonparametrics, 1975, 1.4), which
  holds for perfect ranking too, and DeLong's, which holds for scores that spread differently by class (1988,
  https://doi.org/10.2307/2531595). c, the continuity correction, is half of the largest step between ranks.
- Multiclass, log loss, and regression, R² (that is, squared error): the mean of d > t s / sqrt(n), where d is by how
  much the constant model's loss is greater on each row and s its standard deviation (Student, 1908,
  https://doi.org/10.1093/biomet/6.1.1).

Models of shuffled labels pass in about 5 % of cases or fewer; 8 % where labels and predictions are long-tailed in
opposite directions. Constant ones never do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.metrics import EPSILON, invalid_predictions
from slipway.evaluation.results import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from slipway.module_api import Task

    Floats = NDArray[np.float64]

Z = NormalDist().inv_cdf(0.95)
Z_POWER = NormalDist().inv_cdf(0.8)  # with so many rows as are asked for, a difference as large as seen shows in 80 %
MIN_ROWS = 30  # on fewer, a mean is too far from normal, and a spread of zero says nothing


@dataclass(frozen=True)
class Comparison:
    """The metric that decides, of the candidate and of the constant model, and the constant model's other metrics.

    `error` is the standard error of the difference; `reach` how large a difference chance explains.
    """

    metric: str
    value: float
    constant: float
    error: float
    reach: float
    others: Mapping[str, float]


def check_beats_constant(
    task: Task, labels: NDArray[Any], predictions: NDArray[np.float32], metrics: Mapping[str, float | None]
) -> Check:
    """The check for the verdict; the arguments are those of `compute_metrics`, `metrics` the candidate's overall.

    Rows with an invalid prediction are left out: they refuse the model by themselves.
    """
    valid = ~invalid_predictions(task, predictions)
    labels = labels[valid]
    rows = len(labels)
    if not rows or (labels == labels[0]).all():
        note = (
            "the labels of the evaluation split are all alike, so that a constant model is right everywhere; "
            if rows
            else "no row of the evaluation split has a valid prediction, so that there is nothing to compare; "
        ) + f"it needs {MIN_ROWS} rows at least, with different labels"
        return Check(metric=DECIDES[task], rule="beats_constant", examples=rows, outcome="failed", note=note)
    found = _COMPARE[task](labels, predictions[valid].astype(np.float64))
    sign = -1 if found.metric == "log_loss" else 1
    gain = sign * (found.value - found.constant)
    passed = rows >= MIN_ROWS and gain > max(found.reach, EPSILON)  # less is the rounding of predictions
    bound = found.constant + sign * found.reach
    others = (
        f"{name} {value:.4g} against {constant:.4g}"
        for name, constant in found.others.items()
        if (value := metrics[name]) is not None
    )
    return Check(
        metric=found.metric,
        rule="beats_constant",
        bound=bound,
        value=found.value,
        examples=rows,
        outcome="passed" if passed else "failed",
        note="; ".join([_say(found, gain, bound, rows, passed), *others]),
    )


def _say(found: Comparison, gain: float, bound: float, rows: int, passed: bool) -> str:
    constant = f"a constant model's {found.constant:.4g}"
    if passed:
        return f"{found.value:.4g} beats {constant} by more than chance (one-sided 95 % bound: {bound:.4g})"
    if not gain > EPSILON:
        return f"{found.value:.4g} is no better than {constant}"
    wanted = max(MIN_ROWS, rows + 1, math.ceil(rows * ((Z + Z_POWER) * found.error / gain) ** 2))
    return (
        f"{found.value:.4g} is better than {constant}, but {rows:,} rows are too few to tell that from chance "
        f"(one-sided 95 % bound: {bound:.4g}); if it is no chance, about {wanted:,} rows would do"
    )


def _compare_binary(labels: Floats, scores: Floats) -> Comparison:
    positive = labels > 0
    positives, negatives = int(positive.sum()), int((~positive).sum())
    rows, pairs = len(labels), positives * negatives
    ranks = _midranks(scores)
    within = np.empty(rows)
    within[positive], within[~positive] = _midranks(scores[positive]), _midranks(scores[~positive])
    # Which share of the other class a row outranks, ties by half.
    outranked = (ranks - within) / np.where(positive, negatives, positives)
    shuffled = ranks.var(ddof=1) / (rows * pairs)
    delong = sum(part.var(ddof=1) / len(part) for part in (outranked[positive], outranked[~positive]) if len(part) > 1)
    error = math.sqrt(max(shuffled, delong))
    step = np.diff(np.unique(ranks)).max(initial=0) / (2 * pairs)
    share = positives / rows
    others = {
        "log_loss": -share * math.log(share) - (1 - share) * math.log(1 - share),
        "accuracy": max(share, 1 - share),
    }
    return Comparison("auc", float(outranked[positive].mean()), 0.5, error, Z * error + step, others)


def _compare_multiclass(labels: NDArray[np.int64], predictions: Floats) -> Comparison:
    """Outputs that do not sum to 1 are made to: 1 for every class would cost nothing."""
    shares = np.bincount(labels, minlength=predictions.shape[1]) / len(labels)
    clipped = np.clip(predictions, EPSILON, 1 - EPSILON)
    losses = np.log(clipped.sum(axis=1)) - np.log(clipped[np.arange(len(labels)), labels])
    constant = -np.log(shares[labels])
    others = {"accuracy": float(shares.max()), "auc": 0.5}
    error, reach = _paired(constant - losses)
    return Comparison("log_loss", float(losses.mean()), float(constant.mean()), error, reach, others)


def _compare_regression(labels: Floats, predictions: Floats) -> Comparison:
    labels = labels.astype(np.float64)
    off = labels - labels.mean()
    variance = float((off**2).mean())
    gains = (off**2 - (labels - predictions) ** 2) / variance
    others = {"root_mean_squared_error": math.sqrt(variance), "mean_absolute_error": float(np.abs(off).mean())}
    return Comparison("r_squared", float(gains.mean()), 0.0, *_paired(gains), others)


_COMPARE: dict[Task, Callable[[NDArray[Any], Floats], Comparison]] = {
    "binary": _compare_binary,
    "multiclass": _compare_multiclass,
    "regression": _compare_regression,
}
DECIDES: dict[Task, str] = {"binary": "auc", "multiclass": "log_loss", "regression": "r_squared"}


def _midranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])


def _paired(differences: Floats) -> tuple[float, float]:
    """Standard error of the mean, and what it must exceed.

    Student's quantile by its expansion, right to 0.002 from `MIN_ROWS` on (Abramowitz and Stegun, 1964, 26.7.5).
    """
    rows = len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(rows)
    return error, (Z + (Z**3 + Z) / (4 * (rows - 1))) * error
