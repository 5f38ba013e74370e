"""Whether the candidate beats the constant model by more than chance: the one check that no threshold can waive.

The constant model answers the mean label of the judged rows, or the shares of their classes: no constant fits these
rows better, which makes it only harder to beat. The decision is a one-sided 95 % bound:

- Binary, AUC - 1/2 > z s + c. s² is the larger of two variances: that of the rank sum under shuffled labels, with
  ties (Mann and Whitney, 1947, https://doi.org/10.1214/aoms/1177730491; Lehmann, Nonparametrics, 1975, 1.4), which
  holds for perfect ranking too, and DeLong's, which holds for scores that spread differently by class (1988,
  https://doi.org/10.2307/2531595). c, the continuity correction, is half of the largest step between ranks.
- Multiclass by log loss, regression by R² (squared error): the mean of d > t s / sqrt(n), where d is the constant
  model's loss less the candidate's, row by row, and s its standard deviation (Student, 1908,
  https://doi.org/10.1093/biomet/6.1.1).

Where rows have weights, sums and means are weighted, and a row stays one row: variances are those of weighted means,
Student's quantile and `MIN_ROWS` go by Kish's effective number of rows (`Groups.effective_rows`).

Models of shuffled labels pass in about 5 % of cases or fewer; 8 % where labels and predictions are long-tailed in
opposite directions. Constant ones never do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.metric import BEST
from slipway.evaluation.metrics import EPSILON, Groups, invalid_predictions
from slipway.evaluation.results import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from slipway.module_api import MetricName, Task

    Floats = NDArray[np.float64]

Z = NormalDist().inv_cdf(0.95)
Z_POWER = NormalDist().inv_cdf(0.8)  # the rows asked for show a difference as large as this one in 80 % of cases
MIN_ROWS = 30  # on fewer, a mean is too far from normal, and a spread of zero says nothing


@dataclass(frozen=True)
class Comparison:
    """The deciding metric of the candidate (`value`) and of the constant model.

    `error` is the standard error of their difference, `reach` the largest difference that chance explains, and `others`
    further metrics of the constant model, for the message.
    """

    value: float
    constant: float
    error: float
    reach: float
    others: Mapping[str, float]


def check_beats_constant(
    task: Task,
    labels: NDArray[Any],
    predictions: NDArray[np.float32],
    metrics: Mapping[str, float | None],
    weights: Floats | None = None,
) -> Check:
    """The check for the verdict; the arguments are those of `compute_metrics`, `metrics` the candidate's overall.

    Rows with an invalid prediction are left out: they refuse the model by themselves.
    """
    metric, compare = _TESTS[task]
    valid = ~invalid_predictions(task, predictions)
    labels, all_rows = labels[valid], np.zeros(int(valid.sum()), np.int64)
    rows = Groups(all_rows, 1, None if weights is None else weights[valid])
    check = Check(metric=metric, rule="beats_constant", examples=len(labels), outcome="failed")
    if not len(labels) or (labels == labels[0]).all():
        note = (
            "the labels of the evaluation split are all alike, so that a constant model is right everywhere; "
            if len(labels)
            else "no row of the evaluation split has a valid prediction, so that there is nothing to compare; "
        ) + f"it needs {MIN_ROWS} rows at least, with different labels"
        return check.model_copy(update={"note": note})
    found = compare(labels, predictions[valid].astype(np.float64), rows)
    sign = -1 if BEST[metric] == "low" else 1
    gain, bound = sign * (found.value - found.constant), found.constant + sign * found.reach
    # A gain below EPSILON is the rounding of predictions.
    passed = rows.effective_rows[0] >= MIN_ROWS and gain > max(found.reach, EPSILON)
    others = (
        f"{name} {value:.4g} against {constant:.4g}"
        for name, constant in found.others.items()
        if (value := metrics[name]) is not None
    )
    note = "; ".join([_explain(found, gain, bound, len(labels), passed), *others])
    outcome = "passed" if passed else "failed"
    return check.model_copy(update={"bound": bound, "value": found.value, "outcome": outcome, "note": note})


def _explain(found: Comparison, gain: float, bound: float, rows: int, passed: bool) -> str:
    constant, limit = f"a constant model's {found.constant:.4g}", f"(one-sided 95 % bound: {bound:.4g})"
    if passed:
        return f"{found.value:.4g} beats {constant} by more than chance {limit}"
    if not gain > EPSILON:
        return f"{found.value:.4g} is no better than {constant}"
    wanted = max(MIN_ROWS, rows + 1, math.ceil(rows * ((Z + Z_POWER) * found.error / gain) ** 2))
    return (
        f"{found.value:.4g} is better than {constant}, but {rows:,} rows are too few to tell that from chance "
        f"{limit}; if the difference is real, about {wanted:,} rows would show it"
    )


def _compare_binary(labels: Floats, scores: Floats, rows: Groups) -> Comparison:
    positive, weights, count = labels > 0, rows.weights, float(rows.count[0])
    classes = Groups(positive.astype(np.int64), 2, weights)
    negatives, positives = classes.count
    ranks, within = (midranks(scores, codes, weights) for codes in (rows.codes, classes.codes))
    # The share of the other class that a row outranks, ties by half.
    outranked = (ranks - within) / np.where(positive, negatives, positives)
    spread = _variance(ranks, rows) / count**2
    shuffled = spread * float((1 / classes.effective_rows).sum())
    delong = classes.variance_of_mean(outranked)
    error = math.sqrt(max(shuffled, float(delong[np.isfinite(delong)].sum())))
    step = np.diff(np.unique(ranks)).max(initial=0) * weights.max() / (2 * positives * negatives)
    share = float(positives / count)
    others = {
        "log_loss": -share * math.log(share) - (1 - share) * math.log(1 - share),
        "accuracy": max(share, 1 - share),
    }
    return Comparison(float(classes.mean(outranked)[1]), 0.5, error, float(Z * error + step), others)


def _compare_multiclass(labels: NDArray[np.int64], predictions: Floats, rows: Groups) -> Comparison:
    """Outputs are scaled to sum to 1: otherwise 1 for every class would cost nothing."""
    shares = np.bincount(labels, rows.weights, minlength=predictions.shape[1]) / rows.count
    clipped = np.clip(predictions, EPSILON, 1 - EPSILON)
    losses = np.log(clipped.sum(axis=1)) - np.log(clipped[np.arange(len(labels)), labels])
    constant = -np.log(shares[labels])
    others = {"accuracy": float(shares.max()), "auc": 0.5}
    error, reach = _paired(constant - losses, rows)
    return Comparison(float(rows.mean(losses)[0]), float(rows.mean(constant)[0]), error, reach, others)


def _compare_regression(labels: Floats, predictions: Floats, rows: Groups) -> Comparison:
    labels = labels.astype(np.float64)
    off = labels - rows.mean(labels)
    variance = float(rows.mean(off**2)[0])
    gains = (off**2 - (labels - predictions) ** 2) / variance
    others = {"root_mean_squared_error": math.sqrt(variance), "mean_absolute_error": float(rows.mean(np.abs(off))[0])}
    return Comparison(float(rows.mean(gains)[0]), 0.0, *_paired(gains, rows), others)


_TESTS: dict[Task, tuple[MetricName, Callable[[NDArray[Any], Floats, Groups], Comparison]]] = {
    "binary": ("auc", _compare_binary),
    "multiclass": ("log_loss", _compare_multiclass),
    "regression": ("r_squared", _compare_regression),
}


def midranks(values: NDArray[Any], groups: NDArray[Any], weights: Floats) -> Floats:
    """Ranks from 1 within each group; equal values share their mean rank. A row takes as many ranks as it weighs."""
    order = np.lexsort((values, groups))
    values, groups, weights = values[order], groups[order], weights[order]
    first = np.concatenate([[True], groups[1:] != groups[:-1]])
    new = np.flatnonzero(first | np.concatenate([[True], values[1:] != values[:-1]]))
    counts, tied = np.diff(np.append(new, len(values))), np.add.reduceat(weights, new)
    before = np.cumsum(weights) - weights
    group_starts = np.flatnonzero(first)[np.cumsum(first)[new] - 1]
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(before[new] - before[group_starts] + (tied + 1) / 2, counts)
    return ranks


def students_quantile(rows: Floats) -> Floats:
    """Student's 95 % quantile for means of so many rows, by its expansion.

    It is right to 0.002 from `MIN_ROWS` on (Abramowitz and Stegun, 1964, 26.7.5).
    """
    return np.asarray(Z + (Z**3 + Z) / (4 * (rows - 1)))


def _paired(differences: Floats, rows: Groups) -> tuple[float, float]:
    """Standard error of the mean, and the largest mean that chance explains."""
    error = math.sqrt(rows.variance_of_mean(differences)[0])
    return error, float(students_quantile(rows.effective_rows)[0]) * error


def _variance(values: Floats, rows: Groups) -> float:
    off = values - rows.mean(values)
    return float(rows.mean(off**2)[0]) * len(values) / (len(values) - 1)
