"""Rows with labels and answers of a model, evaluated by shop."""

from __future__ import annotations

from typing import Any

import numpy as np

from slipway.evaluation.config import EvaluationConfig
from slipway.evaluation.gate import evaluate
from slipway.evaluation.metric import CANDIDATE
from slipway.evaluation.metrics import compute_metrics
from slipway.evaluation.results import Evaluation
from slipway.evaluation.slices import Measured, MetricTable, Slicing

ROWS = 2000


def measure(task: Any, labels: Any, answers: Any, shops: Any, weights: Any = None) -> tuple[Evaluation, Measured]:
    """An evaluation of these rows, by shop."""
    names = sorted(set(shops.tolist()))
    codes = np.searchsorted(names, shops)
    slicings = [
        Slicing((), np.zeros(len(labels), np.int64), [()]),
        Slicing(("shop",), codes, [(one,) for one in names]),
    ]
    found = compute_metrics(task, labels, answers, slicings, weights)
    tables = [
        MetricTable(one.columns, one.values, its["example_count"].astype(int), its)
        for one, its in zip(slicings, found, strict=True)
    ]
    measured = Measured(tables, labels, {CANDIDATE: answers}, slicings, {CANDIDATE: 0}, weights=weights)
    classes = ["x", "y", "z"] if task == "multiclass" else []
    config = EvaluationConfig.model_validate(
        {"task": task, "label": {"column": "l", "weight": None if weights is None else "w"}, "classes": classes}
    )
    return evaluate(config, measured, ""), measured


def binary(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(11)
    labels = (random.random(rows) < 0.3).astype(np.float32)
    scores = np.clip(random.normal(0.3 + 0.3 * labels, 0.2), 0, 1).astype(np.float32)
    scores[: rows // 10] = np.round(scores[: rows // 10], 2)  # on thresholds, too
    return labels, scores, random.choice(["a", "b", "c"], rows)
