"""Reads TFMA's output into the tables that the gate judges.

Metrics without a class of TFMA are derived here from its means. Where a metric is undefined and TFMA says zero, it is
made NaN, as in `slipway.evaluation.metrics`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slipway.evaluation.metric import BASELINE, CANDIDATE, EXAMPLE_COUNT, METRICS
from slipway.evaluation.metrics import OF_LABELS, mean_defined
from slipway.evaluation.results import MISSING
from slipway.evaluation.slices import SliceValues
from slipway.evaluation.tables import MetricTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slipway.evaluation.config import EvaluationConfig

    Floats = NDArray[np.float64]

# Columns that the workers add for TFMA; a prefix is followed by a model or a class.
LABEL, INVALID, RIGHT, WITHIN, SPREAD = "label", "__invalid_", "__right_", "__within_", "__spread"

Key = tuple[str, str, int | None]  # model, metric, class
Slices = dict[tuple[str, ...], dict[SliceValues, dict[Key, float]]]


def read_tables(
    folder: str, config: EvaluationConfig, models: Sequence[str], centre: float
) -> tuple[list[MetricTable], dict[str, int]]:
    """One table for each slicing, the overall one first; and the number of invalid predictions of each model.

    `centre` was subtracted from labels before they were squared.
    """
    slices = _read(folder)
    specs = list(dict.fromkeys([(), *config.slice_specs]))
    tables = [_table(spec, slices.get(tuple(sorted(spec)), {}), config, models, centre) for spec in specs]
    count = tables[0].examples[0]
    overall = slices[()][()]
    return tables, {model: round(overall["", f"{INVALID}{model}", None] * count) for model in models}


def _read(folder: str) -> Slices:
    """All numbers, by the slice's columns in alphabetical order."""
    from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import load_and_deserialize_metrics

    slices: Slices = defaultdict(dict)
    for record in load_and_deserialize_metrics(folder):
        pairs = sorted((key.column, key.bytes_value.decode()) for key in record.slice_key.single_slice_keys)
        columns = tuple(column for column, _ in pairs)
        values = tuple(None if value == MISSING else value for _, value in pairs)
        numbers: dict[Key, float] = {}
        for entry in record.metric_keys_and_values:
            key = entry.key
            if not key.is_diff and not key.HasField("aggregation_type") and entry.value.HasField("double_value"):
                class_id = key.sub_key.class_id.value if key.sub_key.HasField("class_id") else None
                numbers[key.model_name, key.name, class_id] = entry.value.double_value.value
        slices[columns][values] = numbers
    return slices


def _table(
    spec: tuple[str, ...],
    rows: dict[SliceValues, dict[Key, float]],
    config: EvaluationConfig,
    models: Sequence[str],
    centre: float,
) -> MetricTable:
    order = [sorted(spec).index(column) for column in spec]
    metrics = {model: _ModelNumbers(list(rows.values()), model, config, centre).metrics() for model in models}
    return MetricTable(
        columns=spec,
        values=[tuple(values[index] for index in order) for values in rows],
        examples=metrics[CANDIDATE][EXAMPLE_COUNT].astype(np.int64),
        candidate=metrics[CANDIDATE],
        baseline=metrics.get(BASELINE),
    )


@dataclass(frozen=True)
class _ModelNumbers:
    """What TFMA says of one model, slice by slice."""

    rows: list[dict[Key, float]]
    model: str
    config: EvaluationConfig
    centre: float

    def metrics(self) -> dict[str, Floats]:
        """The metrics of the task; NaN where one is undefined, or a prediction is invalid."""
        metrics: dict[str, Floats] = {metric.name: self._of(metric.name) for metric in METRICS[self.config.task]}
        {"binary": self._binary, "multiclass": self._multiclass, "regression": self._regression}[self.config.task](
            metrics
        )
        spoilt = self._of(f"{INVALID}{self.model}") > 0
        for name, values in metrics.items():
            values[~np.isfinite(values) | (spoilt & (name not in OF_LABELS))] = np.nan
        return metrics

    def _of(self, metric: str, class_id: int | None = None) -> Floats:
        """One number a slice; NaN where TFMA has none. TFMA leaves the model's name out where there is only one."""
        keys = (self.model, metric, class_id), ("", metric, class_id)
        return np.array([row.get(keys[0], row.get(keys[1], np.nan)) for row in self.rows], np.float64)

    def _binary(self, metrics: dict[str, Floats]) -> None:
        positives = metrics["mean_label"]
        for name in ("auc", "balanced_accuracy"):
            metrics[name][(positives == 0) | (positives == 1)] = np.nan
        for name in ("auc_pr", "recall", "calibration"):
            metrics[name][positives == 0] = np.nan

    def _multiclass(self, metrics: dict[str, Floats]) -> None:
        classes = range(len(self.config.class_names))
        recalls = np.stack([self._of(f"{RIGHT}{self.model}{WITHIN}{index}") for index in classes], axis=1)
        areas = np.stack([self._of("auc", index) for index in classes], axis=1)
        present = np.isfinite(recalls)
        areas[~present | (present.sum(axis=1, keepdims=True) == 1)] = np.nan
        metrics["auc"] = mean_defined(areas)
        metrics["balanced_accuracy"] = mean_defined(recalls)

    def _regression(self, metrics: dict[str, Floats]) -> None:
        squares, spread = metrics["mean_squared_error"], self._of(SPREAD)
        variance = spread - (metrics["mean_label"] - self.centre) ** 2
        variance[variance <= 1e-9 * spread] = np.nan
        metrics["root_mean_squared_error"] = np.sqrt(squares)
        metrics["r_squared"] = 1 - squares / variance
        metrics["calibration"][metrics["mean_label"] == 0] = np.nan
