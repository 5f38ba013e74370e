"""The curves of one model: ROC, precision-recall, calibration, histogram, confusion matrix."""

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
    task: Task, labels: NDArray[Any], predictions: NDArray[np.float32], class_names: Sequence[str]
) -> Curves:
    """Curves over all rows with a valid prediction; ROC and precision-recall are null without both classes."""
    valid = ~invalid_predictions(task, predictions)
    labels, scores = labels[valid], predictions[valid].astype(np.float64)
    if not len(labels):
        return Curves()
    if task == "multiclass":
        best = scores.argmax(axis=1)
        right = {"right": best == labels, "wrong": best != labels}
        return Curves(
            histogram=_histogram(UNIT_EDGES, {name: scores.max(axis=1)[rows] for name, rows in right.items()}),
            confusion_matrix=_confusion(labels, best, class_names),
        )
    if task == "regression":
        edges = np.histogram_bin_edges(np.concatenate([labels, scores]), BINS)
        return Curves(
            calibration=_calibration(labels, scores, np.histogram_bin_edges(scores, BINS)),
            histogram=_histogram(edges, {"labels": labels, "predictions": scores}),
        )
    roc, precision_recall = _trace(labels, scores)
    return Curves(
        roc=roc,
        precision_recall=precision_recall,
        calibration=_calibration(labels, scores, UNIT_EDGES),
        histogram=_histogram(UNIT_EDGES, {name: scores[labels == code] for code, name in enumerate(class_names)}),
        confusion_matrix=_confusion(labels, scores > CUT, class_names),
    )


def _trace(labels: NDArray[Any], scores: Floats) -> tuple[Roc | None, PrecisionRecall | None]:
    """Both curves through every distinct score, thinned to `POINTS` that lie evenly along them."""
    order = np.argsort(-scores)
    hits, scores = np.cumsum(labels[order], dtype=np.float64), scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits, thresholds, chosen = hits[last], scores[last], last + 1.0
    positives, negatives = hits[-1], len(scores) - hits[-1]
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


def _calibration(labels: NDArray[Any], scores: Floats, edges: Floats) -> list[CalibrationBin]:
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(bins, minlength=len(edges) - 1)
    predicted, actual = (np.bincount(bins, values, minlength=len(counts)) for values in (scores, labels))
    return [
        CalibrationBin(
            lower=float(edges[index]),
            upper=float(edges[index + 1]),
            examples=int(counts[index]),
            mean_prediction=float(predicted[index] / counts[index]),
            mean_label=float(actual[index] / counts[index]),
        )
        for index in np.flatnonzero(counts)
    ]


def _histogram(edges: Floats, values: dict[str, Floats]) -> Histogram:
    counts = {name: np.histogram(one, edges)[0].tolist() for name, one in values.items()}
    return Histogram(edges=edges.tolist(), counts=counts)


def _confusion(actual: NDArray[Any], predicted: NDArray[Any], class_names: Sequence[str]) -> ConfusionMatrix:
    size = len(class_names)
    cells = actual.astype(np.int64) * size + predicted.astype(np.int64)
    counts = np.bincount(cells, minlength=size * size).reshape(size, size)
    return ConfusionMatrix(classes=list(class_names), counts=counts.tolist())
