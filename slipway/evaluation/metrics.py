"""Metrics of every slice at once: rows are sorted by score once, and every sum is one `np.bincount`.

A metric is a float64 array with one number per slice. NaN means undefined: the denominator is zero, or the slice holds
an invalid prediction. A row of weight 2 counts as two alike, but in `example_count`. Definitions are those of
scikit-learn and of TensorFlow Model Analysis, which agree except where a docstring says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.metric import EXAMPLE_COUNT, MEAN_LABEL, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from slipway.evaluation.slices import Slicing
    from slipway.module_api import Task

    Floats = NDArray[np.float64]
    Metrics = dict[str, Floats]

# scikit-learn clips float32 probabilities so; Keras to 1e-7. A saturated wrong answer costs 15.9.
EPSILON = float(np.finfo(np.float32).eps)
CUT = 0.5
OF_LABELS = (MEAN_LABEL, EXAMPLE_COUNT)  # defined whatever the predictions are


def invalid_predictions(task: Task, predictions: NDArray[np.float32]) -> NDArray[np.bool_]:
    """`[N]`: predictions that are not finite or, in classification, not a probability."""
    flat = predictions.reshape(len(predictions), -1)
    good = np.isfinite(flat)
    if task != "regression":
        good = good & (flat >= -EPSILON) & (flat <= 1 + EPSILON)
    return np.asarray(~good.all(axis=1))


def compute_metrics(
    task: Task,
    labels: NDArray[Any],
    predictions: NDArray[np.float32],
    slicings: list[Slicing],
    weights: Floats | None = None,
) -> list[Metrics]:
    """Metrics by name, for each slicing; `labels` as `encode_labels` gives them, predictions `[N]` or `[N, K]`.

    Weights are above 0; without them rows count alike.
    """
    invalid = invalid_predictions(task, predictions)
    measure = _MEASURES[task](labels, without_invalid(predictions, invalid))
    results: list[Metrics] = []
    for slicing in slicings:
        groups = Groups(slicing.codes, len(slicing.values), weights)
        metrics = measure(groups) | {EXAMPLE_COUNT: groups.rows}
        spoilt = groups.sum(invalid) > 0
        for name in metrics.keys() - OF_LABELS:
            metrics[name][spoilt] = np.nan
        results.append({metric.name: metrics[metric.name] for metric in METRICS[task]})
    return results


def without_invalid(predictions: NDArray[np.float32], invalid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The predictions with 0 in the place of those that are invalid."""
    return np.where(invalid.reshape(-1, *[1] * (predictions.ndim - 1)), np.float32(0), predictions)


class Groups:
    """Rows by slice: `codes[row]` is the slice, one of `size`; `count` is the sum of a slice's weights."""

    def __init__(self, codes: NDArray[np.int64], size: int, weights: Floats | None = None) -> None:
        self.codes, self.size = codes, size
        self.weights = np.ones(len(codes)) if weights is None else weights
        self.rows = np.bincount(codes, minlength=size).astype(np.float64)
        self.count = self.rows if weights is None else self.sum(1)

    def sum(self, values: NDArray[Any] | int) -> Floats:
        """The weighted sum of each slice."""
        return np.bincount(self.codes, values * self.weights, minlength=self.size).astype(np.float64)

    def mean(self, values: NDArray[Any]) -> Floats:
        """The mean of each slice."""
        return _ratio(self.sum(values), self.count)

    def variance_of_mean(self, values: NDArray[Any]) -> Floats:
        """The square of the standard error of each slice's mean; infinite on a single row.

        A weight does not make two rows of one: with weights it is that of a ratio of sums over the rows (Cochran,
        Sampling Techniques, 1977, 6.4).
        """
        off = values - self.mean(values)[self.codes]
        below = self.count**2 * (self.rows - 1)
        above = self.sum(self.weights * off**2) * self.rows
        variance: Floats = np.divide(above, below, out=np.full(self.size, np.inf), where=below > 0)
        return variance

    @property
    def effective_rows(self) -> Floats:
        """As many rows of equal weight tell as much as those of each slice (Kish, Survey Sampling, 1965, 11.7)."""
        return _ratio(self.count**2, self.sum(self.weights))


def _binary(labels: NDArray[Any], predictions: NDArray[Any]) -> Callable[[Groups], Metrics]:
    """Labels 0 and 1, predictions the probability of 1; predicted positive is a score above 0.5.

    Formulas: https://en.wikipedia.org/wiki/Confusion_matrix. Calibration is TFMA's `Calibration`, the mean prediction
    by the mean label.
    """
    labels, scores = labels.astype(np.float64), predictions.astype(np.float64)
    above = (scores > CUT).astype(np.float64)
    right = labels * above
    losses = log_losses(labels, predictions)
    ranking = Ranking(labels, predictions)

    def measure(groups: Groups) -> Metrics:
        positives, chosen, hits = groups.sum(labels), groups.sum(above), groups.sum(right)
        negatives = groups.count - positives
        rejected = negatives - (chosen - hits)
        auc, auc_pr = ranking.areas(groups)
        return {
            "auc": auc,
            "auc_pr": auc_pr,
            "log_loss": groups.mean(losses),
            "accuracy": _ratio(hits + rejected, groups.count),
            "balanced_accuracy": (_ratio(hits, positives) + _ratio(rejected, negatives)) / 2,
            "precision": _ratio(hits, chosen),
            "recall": _ratio(hits, positives),
            "f1": _ratio(2 * hits, positives + chosen),
            "calibration": _ratio(groups.sum(scores), positives),
            "mean_prediction": groups.mean(scores),
            "mean_label": groups.mean(labels),
        }

    return measure


def _multiclass(labels: NDArray[Any], predictions: NDArray[Any]) -> Callable[[Groups], Metrics]:
    """Labels are class indices, predictions `[N, K]` probabilities.

    AUC is one class against the rest, averaged over the classes for which it is defined in the slice. Balanced accuracy
    is the recall averaged over the classes that the slice's labels have, as in scikit-learn (whose AUC refuses where a
    class is absent); macro F1 is averaged over those that its labels or its predictions have.
    """
    labels, classes = labels.astype(np.int64), predictions.shape[1]
    losses, right, best = log_losses(labels, predictions), are_right(labels, predictions), predictions.argmax(axis=1)
    rankings = [Ranking((labels == index).astype(np.float64), predictions[:, index]) for index in range(classes)]

    def measure(groups: Groups) -> Metrics:
        cells, chosen = (
            Groups(groups.codes * classes + of, groups.size * classes, groups.weights) for of in (labels, best)
        )
        return {
            "auc": mean_defined(np.stack([ranking.areas(groups)[0] for ranking in rankings], axis=1)),
            "log_loss": groups.mean(losses),
            "accuracy": groups.mean(right),
            "balanced_accuracy": mean_defined(cells.mean(right).reshape(groups.size, classes)),
            "macro_f1": mean_defined(
                _ratio(2 * cells.sum(right), cells.count + chosen.count).reshape(groups.size, classes)
            ),
        }

    return measure


def _regression(labels: NDArray[Any], predictions: NDArray[Any]) -> Callable[[Groups], Metrics]:
    """R² is 1 - SSE / SST, scikit-learn's `r2_score`; undefined where all labels are equal."""
    errors, labels, predictions = (
        _errors(labels, predictions),
        labels.astype(np.float64),
        predictions.astype(np.float64),
    )
    absolute, squared = np.abs(errors), errors**2

    def measure(groups: Groups) -> Metrics:
        squares, mean_label = groups.mean(squared), groups.mean(labels)
        return {
            "mean_absolute_error": groups.mean(absolute),
            "mean_squared_error": squares,
            "root_mean_squared_error": np.sqrt(squares),
            "r_squared": 1 - _ratio(squares, groups.mean((labels - mean_label[groups.codes]) ** 2)),
            "calibration": _ratio(groups.sum(predictions), groups.sum(labels)),
            "mean_prediction": groups.mean(predictions),
            "mean_label": mean_label,
        }

    return measure


def are_right(labels: NDArray[Any], predictions: NDArray[Any]) -> Floats:
    """1 where the predicted class is the label's, else 0: the mean is the accuracy."""
    found = predictions > CUT if predictions.ndim == 1 else predictions.argmax(axis=1)
    return np.asarray(found == labels, np.float64)


def log_losses(labels: NDArray[Any], predictions: NDArray[Any]) -> Floats:
    """Minus the logarithm of the probability of each row's label."""
    if predictions.ndim == 1:
        clipped = np.clip(predictions.astype(np.float64), EPSILON, 1 - EPSILON)
        losses: Floats = -np.where(labels > 0, np.log(clipped), np.log1p(-clipped))
        return losses
    own = predictions[np.arange(len(labels)), labels.astype(np.int64)].astype(np.float64)
    return np.asarray(-np.log(np.clip(own, EPSILON, 1 - EPSILON)))


def _errors(labels: NDArray[Any], predictions: NDArray[Any]) -> Floats:
    return np.asarray(predictions.astype(np.float64) - labels.astype(np.float64))


# The metrics that are means over rows, with what they are the mean of.
ROW_VALUES: dict[str, Callable[[NDArray[Any], NDArray[Any]], Floats]] = {
    "accuracy": are_right,
    "log_loss": log_losses,
    "mean_absolute_error": lambda labels, predictions: np.abs(_errors(labels, predictions)),
    "mean_squared_error": lambda labels, predictions: _errors(labels, predictions) ** 2,
}


class Ranking:
    """Rows sorted by falling score, to integrate over thresholds within any slice."""

    def __init__(self, labels: Floats, scores: NDArray[Any]) -> None:
        self.order = np.argsort(-scores)
        self.labels = labels[self.order]
        self.scores = scores[self.order]

    def areas(self, groups: Groups) -> tuple[Floats, Floats]:
        """Area under the ROC curve, and average precision, of every slice.

        AUC counts the pairs of a positive and a negative that are ranked rightly, ties by half (Hanley and McNeil,
        1982, https://doi.org/10.1148/radiology.143.1.7063747): scikit-learn's `roc_auc_score`. The area under the
        precision-recall curve is scikit-learn's `average_precision_score`, sum of (R_n - R_n-1) P_n; TFMA's own
        interpolates between the thresholds instead, and gives 0.19 for 0.33 where positives are few.
        """
        if not len(groups.codes):
            return np.full(groups.size, np.nan), np.full(groups.size, np.nan)
        sliced = groups.codes[self.order]
        # NumPy sorts 16-bit integers by radix, in linear time.
        by_slice = np.argsort(sliced.astype(np.uint16) if groups.size <= 1 << 16 else sliced, kind="stable")
        weights = groups.weights[self.order][by_slice]
        sliced, labels, scores = sliced[by_slice], self.labels[by_slice], self.scores[by_slice]
        new = np.concatenate([[True], (sliced[1:] != sliced[:-1]) | (scores[1:] != scores[:-1])])
        starts = np.flatnonzero(new)
        ties = Groups(sliced[starts], groups.size)  # one row for all that share a score
        positives, total = np.add.reduceat(labels * weights, starts), np.add.reduceat(weights, starts)
        all_positives, count = ties.sum(positives), ties.sum(total)
        above = np.cumsum(positives) - _before(all_positives)[ties.codes]
        seen = np.cumsum(total) - _before(count)[ties.codes]
        pairs = ties.sum((total - positives) * (above - positives / 2))
        precise = ties.sum(positives * above / seen)
        return _ratio(pairs, all_positives * (count - all_positives)), _ratio(precise, all_positives)


_MEASURES: dict[Task, Callable[[NDArray[Any], NDArray[Any]], Callable[[Groups], Metrics]]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}


def _before(sizes: Floats) -> Floats:
    return np.asarray(np.cumsum(sizes) - sizes)


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
    return ratio


def mean_defined(values: Floats) -> Floats:
    """The mean over the last axis without NaN; NaN where all are."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
