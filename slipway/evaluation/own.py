"""A module's own metrics: functions of its `metrics.py`, computed slice by slice on the rows that an engine kept.

Both engines keep all rows, but beyond 100,000 the `tfma` engine keeps a sample, on which these metrics are then
computed; on fewer rows the engines agree.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.errors import ModuleError
from slipway.evaluation.metric import BASELINE, CANDIDATE
from slipway.evaluation.metrics import invalid_predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from slipway.evaluation.slices import Measured, Slicing
    from slipway.module_api import Better, Task

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OwnMetric:
    """`function` of labels, predictions and weights, as `slipway.module_api` describes them."""

    name: str
    better: Better
    function: Callable[[NDArray[Any], NDArray[Any], Floats], Any]

    def __str__(self) -> str:
        return self.name

    def of_rows(self, labels: NDArray[Any], predictions: NDArray[Any], weights: Floats) -> float:
        """The metric of some rows; NaN where it is not finite.

        Raises:
            ModuleError: the function fails, or answers something else than a number.
        """
        value = self.function(labels, predictions, weights)
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if not isinstance(value, numbers.Real):
            shown = " ".join(repr(value).split())[:60]
            raise ModuleError(f"metrics.py: {self.name} answers {shown}, a {type(value).__name__}; it must be a number")
        return float(value) if np.isfinite(float(value)) else float("nan")

    def measure(
        self,
        task: Task,
        labels: NDArray[Any],
        predictions: NDArray[np.float32],
        slicing: Slicing,
        weights: Floats | None = None,
    ) -> Floats:
        """The metric of each slice; NaN where a prediction of the slice is invalid, or it has no rows."""
        result = np.full(len(slicing.values), np.nan)
        invalid, order = invalid_predictions(task, predictions), np.argsort(slicing.codes, kind="stable")
        heavy = np.ones(len(labels)) if weights is None else weights
        ends = np.cumsum(np.bincount(slicing.codes, minlength=len(result)))
        for index, rows in enumerate(np.split(order, ends[:-1])):
            if len(rows) and not invalid[rows].any():
                result[index] = self.of_rows(labels[rows], predictions[rows], heavy[rows])
        return result


def with_own(task: Task, measured: Measured, own: Mapping[str, OwnMetric]) -> Measured:
    """What was measured, with the module's own metrics in every table."""
    tables = []
    for table in measured.tables:
        slicing = measured.slicing(table.columns)
        places = table.places(slicing)
        found: dict[str, dict[str, Floats]] = {CANDIDATE: {}, BASELINE: {}}
        for model in found.keys() & measured.answers.keys():
            for name, metric in own.items():
                values = metric.measure(task, measured.labels, measured.answers[model], slicing, measured.weights)
                found[model][name] = np.append(values, np.nan)[places]
        baseline = None if table.baseline is None else table.baseline | found[BASELINE]
        tables.append(replace(table, candidate=table.candidate | found[CANDIDATE], baseline=baseline))
    return replace(measured, tables=tables)
