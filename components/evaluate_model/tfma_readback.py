"""From what TFMA wrote to the tables that the gate judges.

TFMA has no multiclass balanced accuracy, no R² and no root of the squared error: they are put together here from its
means. What it leaves at zero where a metric is undefined is made NaN, as in `slipway.evaluation.metrics`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from slipway.evaluation.config import EXAMPLE_COUNT, METRICS
from slipway.evaluation.metrics import mean_defined
from slipway.evaluation.results import MISSING
from slipway.evaluation.slices import SliceValues
from slipway.evaluation.tables import MetricTable
from slipway.evaluation.tfma.config import BASELINE, CANDIDATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slipway.evaluation.config import EvaluationConfig

    Floats = NDArray[np.float64]

# Columns that the engine makes for TFMA; the prefixes are completed by a model or a class.
LABEL, INVALID, RIGHT, WITHIN, SPREAD = "label", "__invalid_", "__right_", "__within_", "__spread"

Key = tuple[str, str, int | None]  # model, metric, class
Slices = dict[tuple[str, ...], dict[SliceValues, dict[Key, float]]]


def read_tables(
    folder: str, config: EvaluationConfig, models: Sequence[str], centre: float
) -> tuple[list[MetricTable], dict[str, int]]:
    """One table for each slicing, the overall one first; and how many predictions of each model are invalid.

    Args:
        folder: TFMA's output.
        config: What was evaluated.
        models: Those that were evaluated: the candidate, and the baseline if it could be.
        centre: What was subtracted from labels before they were squared.
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
    columns = _Columns(list(rows.values()), single=len(models) == 1)
    metrics = {model: _metrics(config, columns, model, centre) for model in models}
    return MetricTable(
        columns=spec,
        values=[tuple(values[index] for index in order) for values in rows],
        examples=metrics[CANDIDATE][EXAMPLE_COUNT].astype(np.int64),
        candidate=metrics[CANDIDATE],
        baseline=metrics.get(BASELINE),
    )


class _Columns:
    """Numbers of one table by key; NaN where TFMA has none."""

    def __init__(self, rows: list[dict[Key, float]], single: bool) -> None:
        self._rows = rows
        self._single = single

    def of(self, model: str, metric: str, class_id: int | None = None) -> Floats:
        """One number a slice. TFMA leaves the model's name out where there is only one."""
        keys = (model, metric, class_id), ("", metric, class_id)
        return np.array([row.get(keys[0], row.get(keys[1], np.nan)) for row in self._rows], np.float64)


def _metrics(config: EvaluationConfig, columns: _Columns, model: str, centre: float) -> dict[str, Floats]:
    metrics = {name: columns.of(model, name) for name in METRICS[config.task]}
    _DERIVED[config.task](config, columns, model, metrics, centre)
    spoilt = columns.of("", f"{INVALID}{model}") > 0
    for name, values in metrics.items():
        values[~np.isfinite(values)] = np.nan
        if name != "mean_label":
            values[spoilt] = np.nan
    metrics[EXAMPLE_COUNT] = columns.of(model, EXAMPLE_COUNT)
    return metrics


def _complete_binary(
    config: EvaluationConfig, columns: _Columns, model: str, metrics: dict[str, Floats], centre: float
) -> None:
    positives = metrics["mean_label"]
    for name in ("auc", "balanced_accuracy"):
        metrics[name][(positives == 0) | (positives == 1)] = np.nan
    for name in ("auc_pr", "recall", "calibration"):
        metrics[name][positives == 0] = np.nan


def _complete_multiclass(
    config: EvaluationConfig, columns: _Columns, model: str, metrics: dict[str, Floats], centre: float
) -> None:
    classes = range(len(config.class_names))
    recalls = np.stack([columns.of("", f"{RIGHT}{model}{WITHIN}{index}") for index in classes], axis=1)
    areas = np.stack([columns.of(model, "auc", index) for index in classes], axis=1)
    present = np.isfinite(recalls)
    areas[~present | (present.sum(axis=1, keepdims=True) == 1)] = np.nan
    metrics["auc"] = mean_defined(areas)
    metrics["balanced_accuracy"] = mean_defined(recalls)


def _complete_regression(
    config: EvaluationConfig, columns: _Columns, model: str, metrics: dict[str, Floats], centre: float
) -> None:
    squares, spread = metrics["mean_squared_error"], columns.of("", SPREAD)
    variance = spread - (metrics["mean_label"] - centre) ** 2
    variance[variance <= 1e-9 * spread] = np.nan
    metrics["root_mean_squared_error"] = np.sqrt(squares)
    metrics["r_squared"] = 1 - squares / variance
    metrics["calibration"][metrics["mean_label"] == 0] = np.nan


_DERIVED = {"binary": _complete_binary, "multiclass": _complete_multiclass, "regression": _complete_regression}
