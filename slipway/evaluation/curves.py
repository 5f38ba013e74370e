"""The curves of one model: ROC, precision-recall, calibration, histogram, confusion matrix.

Where rows have weights, all of them count weights instead of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.metrics import CUT, invalid_predictions
from slipway.evaluation.results import CalibrationBin, ConfusionMatrix, Curves, Histogram, PrecisionRecall, Roc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slipway.module_api import Task

    Floats = NDArray[np.float64]

POINTS = 200
BINS = 20
UNIT_EDGES = np.linspace(0, 1, BINS + 1)


def trace_curves(
    task: Task,
    labels: NDArray[Any],
    predictions: NDArray[np.float32],
    class_names: Sequence[str],
    weights: Floats | None = None,
) -> Curves:
    """Curves over all rows with a valid prediction; ROC and precision-recall are null without both classes."""
    valid = ~invalid_predictions(task, predictions)
    labels, scores = labels[valid], predictions[valid].astype(np.float64)
    # Whole numbers stay whole: rows are counted, weights are added up.
    counted = np.ones(len(labels), np.int64) if weights is None else weights[valid]
    if not len(labels):
        return Curves()
    if task == "multiclass":
        best = scores.argmax(axis=1)
        right = {"right": best == labels, "wrong": best != labels}
        tops = {name: (scores.max(axis=1)[rows], counted[rows]) for name, rows in right.items()}
        return Curves(
            histogram=_histogram(UNIT_EDGES, tops), confusion_matrix=_confusion(labels, best, class_names, counted)
        )
    if task == "regression":
        edges = np.histogram_bin_edges(np.concatenate([labels, scores]), BINS)
        return Curves(
            calibration=_calibration(labels, scores, np.histogram_bin_edges(scores, BINS), counted),
            histogram=_histogram(edges, {"labels": (labels, counted), "predictions": (scores, counted)}),
        )
    roc, precision_recall = _trace(labels, scores, counted)
    by_class = {name: (scores[labels == code], counted[labels == code]) for code, name in enumerate(class_names)}
    return Curves(
        roc=roc,
        precision_recall=precision_recall,
        calibration=_calibration(labels, scores, UNIT_EDGES, counted),
        histogram=_histogram(UNIT_EDGES, by_class),
        confusion_matrix=_confusion(labels, scores > CUT, class_names, counted),
    )


def _trace(labels: NDArray[Any], scores: Floats, counted: NDArray[Any]) -> tuple[Roc | None, PrecisionRecall | None]:
    """Both curves through every distinct score, thinned to `POINTS` that lie evenly along them."""
    order = np.argsort(-scores)
    hits, scores = np.cumsum(labels[order] * counted[order], dtype=np.float64), scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits, thresholds, chosen = hits[last], scores[last], np.cumsum(counted[order], dtype=np.float64)[last]
    positives, negatives = hits[-1], chosen[-1] - hits[-1]
    if not positives or not negatives:
        return None, None
    # The first point predicts nothing positive; its threshold lies just above all scores, and is finite for Kubeflow.
    start = np.nextafter(thresholds[0], np.inf)
    rate, recall = np.append(0, (chosen - hits) / negatives), np.append(0, hits / positives)
    thin = _thin(rate + recall)
    roc = Roc(
        thresholds=np.append(start, thresholds)[thin].tolist(),
        false_positive_rate=rate[thin].tolist(),
        true_positive_rate=recall[thin].tolist(),
    )
    thin = _thin(hits / positives)
    return roc, PrecisionRecall(
        thresholds=thresholds[thin].tolist(),
        precision=(hits / chosen)[thin].tolist(),
        recall=(hits / positives)[thin].tolist(),
    )


def _thin(progress: Floats) -> NDArray[np.int64]:
    """Indices of at most `POINTS` points, evenly spaced along `progress`, which grows; both ends are kept."""
    if len(progress) <= POINTS:
        return np.arange(len(progress))
    wanted = np.linspace(progress[0], progress[-1], POINTS - 1)
    return np.unique(np.append(np.searchsorted(progress, wanted), len(progress) - 1))


def _calibration(labels: NDArray[Any], scores: Floats, edges: Floats, counted: NDArray[Any]) -> list[CalibrationBin]:
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 2)
    counts = _sums(bins, counted, len(edges) - 1)
    predicted, actual = (np.bincount(bins, values * counted, minlength=len(counts)) for values in (scores, labels))
    return [
        CalibrationBin(
            lower=float(edges[index]),
            upper=float(edges[index + 1]),
            examples=counts[index].item(),
            mean_prediction=float(predicted[index] / counts[index]),
            mean_label=float(actual[index] / counts[index]),
        )
        for index in np.flatnonzero(counts)
    ]


def _sums(bins: NDArray[Any], counted: NDArray[Any], size: int) -> NDArray[Any]:
    return np.bincount(bins, counted, minlength=size).astype(counted.dtype)


def _histogram(edges: Floats, values: dict[str, tuple[NDArray[Any], NDArray[Any]]]) -> Histogram:
    counts = {name: np.histogram(one, edges, weights=each)[0].tolist() for name, (one, each) in values.items()}
    return Histogram(edges=edges.tolist(), counts=counts)


def _confusion(
    actual: NDArray[Any], predicted: NDArray[Any], class_names: Sequence[str], counted: NDArray[Any]
) -> ConfusionMatrix:
    size = len(class_names)
    cells = actual.astype(np.int64) * size + predicted.astype(np.int64)
    counts = _sums(cells, counted, size * size).reshape(size, size)
    return ConfusionMatrix(classes=list(class_names), counts=counts.tolist())
