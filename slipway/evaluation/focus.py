"""Thresholds that look at the predictions in another way: at a decision threshold, or one class against the rest.

Each is a metric of a binary model whose labels and predictions are made from those of the model, on the rows that the
engine kept: all of them or, beyond 100,000 rows, the `tfma` engine's sample. So both engines agree.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.metric import BASELINE, CANDIDATE, DECIDED
from slipway.evaluation.metrics import compute_metrics, invalid_predictions
from slipway.evaluation.slices import MetricTable, Slicing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slipway.evaluation.config import EvaluationConfig
    from slipway.evaluation.slices import Measured
    from slipway.module_api import LabelledTask, Threshold


def focus(config: EvaluationConfig, threshold: Threshold, measured: Measured) -> Measured:
    """What was measured, as a binary task on which the threshold's metric is an ordinary one."""
    labels, slicing = measured.labels, measured.slicing(threshold.slice)
    index = None if threshold.of_class is None else config.class_names.index(threshold.of_class)
    if index is not None:
        labels = (labels == index).astype(np.float32)
    answers = {}
    for name, predictions in measured.answers.items():
        invalid = invalid_predictions(config.task, predictions)
        weights = None if measured.weights is None else measured.weights[~invalid]
        seen = _look(threshold, index, labels[~invalid], predictions[~invalid], weights)
        answers[name] = np.full(len(labels), np.nan, np.float32)
        answers[name][~invalid] = seen
    found = {
        name: compute_metrics("binary", labels, answers[name], [slicing], measured.weights)[0]
        for name in (CANDIDATE, BASELINE)
        if name in answers
    }
    sizes = np.bincount(slicing.codes, minlength=len(slicing.values))
    table = MetricTable(slicing.columns, slicing.values, sizes, found[CANDIDATE], found.get(BASELINE))
    return replace(measured, labels=labels, answers=answers, tables=[table], slicings=[slicing])


def value_of(
    config: LabelledTask,
    threshold: Threshold,
    labels: NDArray[Any],
    predictions: NDArray[Any],
    weights: NDArray[np.float64] | None = None,
) -> float:
    """The threshold's metric on rows whose predictions are valid."""
    index = None if threshold.of_class is None else config.class_names.index(threshold.of_class)
    labels = labels if index is None else (labels == index).astype(np.float32)
    seen = _look(threshold, index, labels, predictions, weights).astype(np.float32)
    whole = Slicing((), np.zeros(len(labels), np.int64), [()])
    return float(compute_metrics("binary", labels, seen, [whole], weights)[0][threshold.metric][0])


def _look(
    threshold: Threshold,
    index: int | None,
    labels: NDArray[Any],
    predictions: NDArray[Any],
    weights: NDArray[np.float64] | None,
) -> NDArray[Any]:
    scores = predictions if index is None else predictions[:, index]
    if threshold.decision is not None:
        return scores > threshold.decision
    if threshold.at_precision is not None:
        return scores >= lowest_score(labels, scores, threshold.at_precision, weights)
    # Of one class the largest output decides.
    return predictions.argmax(axis=1) == index if threshold.metric in DECIDED else scores


def lowest_score(
    labels: NDArray[Any], scores: NDArray[Any], precision: float, weights: NDArray[np.float64] | None = None
) -> float:
    """The lowest score from which on the precision is at least as given, over all rows; infinite if none reaches it."""
    order = np.argsort(-scores)
    ordered = np.ones(len(labels)) if weights is None else weights[order]
    hits, seen, falling = np.cumsum((labels[order] > 0) * ordered), np.cumsum(ordered), scores[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1) if len(falling) else np.array([], np.int64)
    reached = last[hits[last] >= precision * seen[last]]
    return float(falling[reached[-1]]) if len(reached) else float("inf")
