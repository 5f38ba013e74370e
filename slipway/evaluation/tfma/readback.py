"""Reads TFMA's output into the tables that the gate judges.

Metrics without a class of TFMA are derived here from its means. Where a metric is undefined and TFMA's is zero, it
becomes NaN, as in `slipway.evaluation.metrics`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from slipway.evaluation.metric import BASELINE, CANDIDATE, EXAMPLE_COUNT, METRICS
from slipway.evaluation.metrics import OF_LABELS, mean_defined
from slipway.evaluation.results import MISSING
from slipway.evaluation.slices import MetricTable, SliceValues

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slipway.evaluation.config import EvaluationConfig

    Floats = NDArray[np.float64]

# Columns that the workers add for TFMA; a prefix is followed by a model or a class.
INVALID, RIGHT, WITHIN, SPREAD = "__invalid_", "__right_", "__within_", "__spread"
CHOSEN, HEAVY = "__chosen_", "__heavy_"

Key = tuple[str, str, int | None]  # model, metric, class


def read_tables(
    folder: str, config: EvaluationConfig, models: Sequence[str], centre: float
) -> tuple[list[MetricTable], dict[str, int]]:
    """One table for each slicing, the overall one first; and the number of invalid predictions of each model.

    `centre` was subtracted from labels before they were squared.
    """
    slices = _read(folder)
    tables = []
    for spec in dict.fromkeys([(), *config.slice_specs]):
        rows = slices.get(tuple(sorted(spec)), {})
        order = [sorted(spec).index(column) for column in spec]
        metrics = {model: _metrics(list(rows.values()), model, config, centre) for model in models}
        tables.append(
            MetricTable(
                columns=spec,
                values=[tuple(values[index] for index in order) for values in rows],
                examples=metrics[CANDIDATE][EXAMPLE_COUNT].astype(np.int64),
                candidate=metrics[CANDIDATE],
                baseline=metrics.get(BASELINE),
            )
        )
    overall, count = slices[()][()], tables[0].examples[0]
    return tables, {model: round(overall["", f"{INVALID}{model}", None] * count) for model in models}


def _read(folder: str) -> dict[tuple[str, ...], dict[SliceValues, dict[Key, float]]]:
    """All numbers, by the slice's columns in alphabetical order."""
    from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import load_and_deserialize_metrics

    slices: dict[tuple[str, ...], dict[SliceValues, dict[Key, float]]] = defaultdict(dict)
    for record in load_and_deserialize_metrics(folder):
        pairs = sorted((key.column, key.bytes_value.decode()) for key in record.slice_key.single_slice_keys)
        values = tuple(None if value == MISSING else value for _, value in pairs)
        numbers = slices[tuple(column for column, _ in pairs)].setdefault(values, {})
        for entry in record.metric_keys_and_values:
            key = entry.key
            if not key.is_diff and not key.HasField("aggregation_type") and entry.value.HasField("double_value"):
                class_id = key.sub_key.class_id.value if key.sub_key.HasField("class_id") else None
                numbers[key.model_name, key.name, class_id] = entry.value.double_value.value
    return slices


def _metrics(rows: list[dict[Key, float]], model: str, config: EvaluationConfig, centre: float) -> dict[str, Floats]:
    """The metrics of one model, slice by slice; NaN where one is undefined, or a prediction is invalid."""

    def of(metric: str, class_id: int | None = None) -> Floats:
        # TFMA leaves the model's name out where there is only one.
        keys = (model, metric, class_id), ("", metric, class_id)
        return np.array([row.get(keys[0], row.get(keys[1], np.nan)) for row in rows], np.float64)

    metrics: dict[str, Floats] = {metric.name: of(metric.name) for metric in METRICS[config.task]}
    if config.task == "multiclass":
        classes = range(len(config.class_names))
        recalls = np.stack([of(f"{RIGHT}{model}{HEAVY}{index}") for index in classes], axis=1)
        areas = np.stack([of("auc", index) for index in classes], axis=1)
        present = np.isfinite(recalls)
        areas[~present | (present.sum(axis=1, keepdims=True) == 1)] = np.nan
        metrics["auc"] = mean_defined(areas)
        metrics["balanced_accuracy"] = mean_defined(recalls)
        shares, chosen = (
            np.stack([of(f"{prefix}{index}") for index in classes], axis=1) for prefix in (WITHIN, f"{CHOSEN}{model}")
        )
        hits = np.where(present, recalls * shares, 0)
        both = np.where(shares + chosen, shares + chosen, np.nan)
        metrics["macro_f1"] = mean_defined(2 * hits / both)
    else:
        metrics["calibration"][metrics["mean_label"] == 0] = np.nan
    if config.task == "binary":
        positives = metrics["mean_label"]
        for name in ("auc", "balanced_accuracy"):
            metrics[name][(positives == 0) | (positives == 1)] = np.nan
        for name in ("auc_pr", "recall"):
            metrics[name][positives == 0] = np.nan
    if config.task == "regression":
        squares, spread = metrics["mean_squared_error"], of(SPREAD)
        variance = spread - (metrics["mean_label"] - centre) ** 2
        variance[variance <= 1e-9 * spread] = np.nan
        metrics["root_mean_squared_error"] = np.sqrt(squares)
        metrics["r_squared"] = 1 - squares / variance
    spoilt = of(f"{INVALID}{model}") > 0
    for name, values in metrics.items():
        values[~np.isfinite(values) | (spoilt & (name not in OF_LABELS))] = np.nan
    return metrics
