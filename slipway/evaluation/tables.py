"""Metrics of all slices of one partition, as an engine hands them to the gate and to the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slipway.evaluation.results import LeftOut, SliceResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from slipway.evaluation.results import Check, Curves, Metrics
    from slipway.evaluation.slices import SliceValues
    from slipway.module_api import Task

    Floats = NDArray[np.float64]

RANKED_BY: dict[Task, tuple[str, bool]] = {
    "binary": ("auc", False),
    "multiclass": ("accuracy", False),
    "regression": ("root_mean_squared_error", True),
}
RANKED_FROM = 100  # examples: on fewer, chance decides which slice is worst
RANKED_FROM_RARER = 20  # examples of the rarer class, where AUC ranks
WORST = 10
LISTED = 50


@dataclass(frozen=True)
class MetricTable:
    """Row `i` is the slice `values[i]`; metrics are `[slices]`, NaN where undefined. Without columns: overall."""

    columns: tuple[str, ...]
    values: list[SliceValues]
    examples: NDArray[np.int64]
    candidate: dict[str, Floats]
    baseline: dict[str, Floats] | None = None

    def row(self, index: int) -> SliceResult:
        """One slice."""
        return SliceResult(
            columns=list(self.columns),
            values=list(self.values[index]),
            examples=int(self.examples[index]),
            candidate=_row(self.candidate, index),
            baseline=None if self.baseline is None else _row(self.baseline, index),
        )


@dataclass(frozen=True)
class Predictions:
    """How many predictions each model made wrongly in form; `baseline_problem` says why production has none."""

    invalid: int = 0
    baseline_invalid: int = 0
    baseline_problem: str | None = None


@dataclass(frozen=True)
class Measured:
    """All that an engine finds out; `tables` starts with the overall one."""

    tables: list[MetricTable]
    predictions: Predictions
    beats_constant: Check
    unlabelled: int
    curves: Curves
    baseline_curves: Curves | None
    curve_examples: int | None = None


def list_slices(task: Task, tables: Iterable[MetricTable]) -> tuple[list[SliceResult], list[LeftOut]]:
    """Of each table the largest and the worst slices, `LISTED` at most, largest first; and what that leaves out."""
    listed, left_out = [], []
    for table in tables:
        largest = np.argsort(-table.examples, kind="stable")
        kept = largest[: LISTED - WORST].tolist()
        kept += [index for index in _ranked(task, table)[:WORST] if index not in kept]
        known = set(kept)
        kept += [index for index in largest.tolist() if index not in known][: LISTED - len(kept)]
        kept.sort(key=lambda index: -int(table.examples[index]))
        listed += [table.row(index) for index in kept]
        if len(kept) < len(table.values):
            rest = int(table.examples.sum() - table.examples[kept].sum())
            left_out.append(LeftOut(columns=list(table.columns), slices=len(table.values) - len(kept), examples=rest))
    return listed, left_out


def worst_slices(task: Task, tables: Iterable[MetricTable]) -> list[SliceResult]:
    """The worst slices of all tables, worst first."""
    metric, high_is_bad = RANKED_BY[task]
    rows = [table.row(index) for table in tables for index in _ranked(task, table)[:WORST]]
    rows.sort(key=lambda row: row.candidate[metric] or 0.0, reverse=high_is_bad)
    return rows[:WORST]


def _ranked(task: Task, table: MetricTable) -> list[int]:
    """Slices that are large enough to be ranked, worst first."""
    metric, high_is_bad = RANKED_BY[task]
    values = table.candidate[metric]
    order = np.argsort(-values if high_is_bad else values, kind="stable")
    fit = (table.examples >= RANKED_FROM) & np.isfinite(values)
    if task == "binary":
        share = table.candidate["mean_label"]
        fit &= np.minimum(share, 1 - share) * table.examples >= RANKED_FROM_RARER
    return [int(index) for index in order if fit[index]]


def _row(metrics: dict[str, Floats], index: int) -> Metrics:
    return {name: float(values[index]) if np.isfinite(values[index]) else None for name, values in metrics.items()}
