"""Metrics of every slice at once: rows are sorted by score once, and every sum is one `np.bincount`.

All functions answer float64 arrays with one number per slice. NaN means undefined: a metric whose denominator is
zero, and every metric of a slice that holds an invalid prediction. Definitions are those of scikit-learn and of
TensorFlow Model Analysis, which agree except where a docstring says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.config import EXAMPLE_COUNT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slipway.evaluation.slices import Slicing
    from slipway.module_api import Task

    Floats = NDArray[np.float64]
    Metrics = dict[str, Floats]

# What scikit-learn clips float32 probabilities to; Keras clips to 1e-7. A saturated wrong answer costs 15.9.
EPSILON = float(np.finfo(np.float32).eps)
CUT = 0.5


def invalid_predictions(task: Task, predictions: NDArray[np.float32]) -> NDArray[np.bool_]:
    """`[N]`: predictions that are not finite or, in classification, no probability."""
    flat = predictions.reshape(len(predictions), -1)
    good = np.isfinite(flat)
    if task != "regression":
        good = good & (flat >= -EPSILON) & (flat <= 1 + EPSILON)
    return np.asarray(~good.all(axis=1))


def compute_metrics(
    task: Task, labels: NDArray[Any], predictions: NDArray[np.float32], slicings: list[Slicing]
) -> list[Metrics]:
    """Metrics by name for every slicing; `labels` as `encode_labels` gives them, predictions `[N]` or `[N, K]`."""
    invalid = invalid_predictions(task, predictions)
    rows = _ROWS[task](labels, np.where(invalid.reshape(-1, *[1] * (predictions.ndim - 1)), 0, predictions))
    results = []
    for slicing in slicings:
        metrics = rows.by(slicing.codes, len(slicing.values))
        spoilt = _sum(slicing.codes, invalid, len(slicing.values)) > 0
        for name, values in metrics.items():
            if name != "mean_label":
                values[spoilt] = np.nan
        metrics[EXAMPLE_COUNT] = np.bincount(slicing.codes, minlength=len(slicing.values)).astype(np.float64)
        results.append(metrics)
    return results


class BinaryRows:
    """Rows of a binary task: labels 0 and 1, predictions the probability of 1."""

    def __init__(self, labels: NDArray[Any], predictions: NDArray[Any]) -> None:
        self.labels = labels.astype(np.float64)
        self.scores = predictions.astype(np.float64)
        chosen = self.scores > CUT
        self.hits = self.labels * chosen
        self.chosen = chosen.astype(np.float64)
        clipped = np.clip(self.scores, EPSILON, 1 - EPSILON)
        self.losses = -np.where(self.labels > 0, np.log(clipped), np.log1p(-clipped))
        self.ranking = Ranking(self.labels, predictions)

    def by(self, codes: NDArray[np.int64], slices: int) -> Metrics:
        """Formulas: https://en.wikipedia.org/wiki/Confusion_matrix; predicted positive is a score above 0.5.

        Calibration is the mean prediction by the mean label, TFMA's `Calibration`.
        """
        count = np.bincount(codes, minlength=slices).astype(np.float64)
        positives = _sum(codes, self.labels, slices)
        chosen = _sum(codes, self.chosen, slices)
        hits = _sum(codes, self.hits, slices)
        negatives = count - positives
        rejected = negatives - (chosen - hits)
        scores = _sum(codes, self.scores, slices)
        auc, auc_pr = self.ranking.areas(codes, slices)
        return {
            "auc": auc,
            "auc_pr": auc_pr,
            "log_loss": _ratio(_sum(codes, self.losses, slices), count),
            "accuracy": _ratio(hits + rejected, count),
            "balanced_accuracy": (_ratio(hits, positives) + _ratio(rejected, negatives)) / 2,
            "precision": _ratio(hits, chosen),
            "recall": _ratio(hits, positives),
            "f1": _ratio(2 * hits, positives + chosen),
            "calibration": _ratio(scores, positives),
            "mean_prediction": _ratio(scores, count),
            "mean_label": _ratio(positives, count),
        }


class MulticlassRows:
    """Rows of a multiclass task: labels are class indices, predictions `[N, K]` probabilities."""

    def __init__(self, labels: NDArray[Any], predictions: NDArray[Any]) -> None:
        self.labels = labels.astype(np.int64)
        self.classes = predictions.shape[1]
        own = predictions[np.arange(len(labels)), self.labels].astype(np.float64)
        self.losses = -np.log(np.clip(own, EPSILON, 1 - EPSILON))
        self.right = (predictions.argmax(axis=1) == self.labels).astype(np.float64)
        self.rankings = [
            Ranking((self.labels == index).astype(np.float64), predictions[:, index]) for index in range(self.classes)
        ]

    def by(self, codes: NDArray[np.int64], slices: int) -> Metrics:
        """AUC is one class against the rest, averaged over the classes for which it is defined in the slice.

        Balanced accuracy is the recall averaged over the classes that the slice's labels have, as in scikit-learn
        (whose AUC refuses where a class is absent).
        """
        count = np.bincount(codes, minlength=slices).astype(np.float64)
        cells = codes * self.classes + self.labels
        shape = slices, self.classes
        actual = np.bincount(cells, minlength=slices * self.classes).reshape(shape)
        right = _sum(cells, self.right, slices * self.classes).reshape(shape)
        areas = np.stack([ranking.areas(codes, slices)[0] for ranking in self.rankings], axis=1)
        return {
            "auc": mean_defined(areas),
            "log_loss": _ratio(_sum(codes, self.losses, slices), count),
            "accuracy": _ratio(_sum(codes, self.right, slices), count),
            "balanced_accuracy": mean_defined(_ratio(right, actual.astype(np.float64))),
        }


class RegressionRows:
    """Rows of a regression: labels and predictions are numbers."""

    def __init__(self, labels: NDArray[Any], predictions: NDArray[Any]) -> None:
        self.labels = labels.astype(np.float64)
        self.predictions = predictions.astype(np.float64)
        self.errors = self.predictions - self.labels

    def by(self, codes: NDArray[np.int64], slices: int) -> Metrics:
        """R² is 1 - SSE / SST, scikit-learn's `r2_score`; undefined where all labels are equal.

        Calibration is the mean prediction by the mean label, TFMA's `Calibration`.
        """
        count = np.bincount(codes, minlength=slices).astype(np.float64)
        labels = _sum(codes, self.labels, slices)
        predictions = _sum(codes, self.predictions, slices)
        squares = _sum(codes, self.errors**2, slices)
        mean_label = _ratio(labels, count)
        spread = _sum(codes, (self.labels - mean_label[codes]) ** 2, slices)
        return {
            "mean_absolute_error": _ratio(_sum(codes, np.abs(self.errors), slices), count),
            "mean_squared_error": _ratio(squares, count),
            "root_mean_squared_error": np.sqrt(_ratio(squares, count)),
            "r_squared": 1 - _ratio(squares, spread),
            "calibration": _ratio(predictions, labels),
            "mean_prediction": _ratio(predictions, count),
            "mean_label": mean_label,
        }


class Ranking:
    """Rows sorted by falling score, to integrate over thresholds within any slice."""

    def __init__(self, labels: Floats, scores: NDArray[Any]) -> None:
        self.order = np.argsort(-scores)
        self.labels = labels[self.order]
        self.scores = scores[self.order]

    def areas(self, codes: NDArray[np.int64], slices: int) -> tuple[Floats, Floats]:
        """Area under the ROC curve, and average precision, of every slice.

        AUC counts the pairs of a positive and a negative that are ranked rightly, ties by half (Hanley and McNeil,
        1982, https://doi.org/10.1148/radiology.143.1.7063747): scikit-learn's `roc_auc_score`. The area under the
        precision-recall curve is scikit-learn's `average_precision_score`, sum of (R_n - R_n-1) P_n; TFMA's own
        interpolates between the thresholds instead, and says 0.19 for 0.33 where positives are few.
        """
        if not len(codes):
            return np.full(slices, np.nan), np.full(slices, np.nan)
        sliced = codes[self.order]
        # NumPy sorts 16-bit integers by radix, in linear time.
        by_slice = np.argsort(sliced.astype(np.uint16) if slices <= 1 << 16 else sliced, kind="stable")
        sliced, labels, scores = sliced[by_slice], self.labels[by_slice], self.scores[by_slice]
        new = np.concatenate([[True], (sliced[1:] != sliced[:-1]) | (scores[1:] != scores[:-1])])
        starts = np.flatnonzero(new)
        owner = sliced[starts]
        positives = np.add.reduceat(labels, starts)
        total = np.diff(np.append(starts, len(labels))).astype(np.float64)
        all_positives = _sum(owner, positives, slices)
        count = _sum(owner, total, slices)
        above = np.cumsum(positives) - _before(all_positives)[owner]
        seen = np.cumsum(total) - _before(count)[owner]
        pairs = _sum(owner, (total - positives) * (above - positives / 2), slices)
        precise = _sum(owner, positives * above / seen, slices)
        return _ratio(pairs, all_positives * (count - all_positives)), _ratio(precise, all_positives)


_ROWS: dict[Task, type[BinaryRows] | type[MulticlassRows] | type[RegressionRows]] = {
    "binary": BinaryRows,
    "multiclass": MulticlassRows,
    "regression": RegressionRows,
}


def _sum(codes: NDArray[np.int64], values: NDArray[Any], slices: int) -> Floats:
    return np.bincount(codes, values, minlength=slices).astype(np.float64)


def _before(sizes: Floats) -> Floats:
    return np.asarray(np.cumsum(sizes) - sizes)


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
    return ratio


def mean_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
