"""The result of an engine: metrics of all slices, one table for each set of slice columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.metric import BEST, ranking_metric
from slipway.evaluation.results import LeftOut, SliceResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from slipway.evaluation.results import Metrics
    from slipway.evaluation.slices import SliceValues
    from slipway.module_api import Task

    Floats = NDArray[np.float64]

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

        def at(metrics: dict[str, Floats]) -> Metrics:
            return {name: float(one[index]) if np.isfinite(one[index]) else None for name, one in metrics.items()}

        return SliceResult(
            columns=list(self.columns),
            values=list(self.values[index]),
            examples=int(self.examples[index]),
            candidate=at(self.candidate),
            baseline=None if self.baseline is None else at(self.baseline),
        )


@dataclass(frozen=True)
class Measured:
    """The result of an engine.

    Attributes:
        tables: The overall one first.
        labels: Of all labelled rows or, if `sampled`, of some: for the curves and the comparison with the constant
            model.
        answers: Predictions for the rows of `labels`, by model.
        invalid: Number of invalid predictions by model.
        unlabelled: Rows without a label.
        baseline_problem: The reason why the production model could not be scored.
        sampled: Whether `labels` leave rows out.
    """

    tables: list[MetricTable]
    labels: NDArray[Any]
    answers: dict[str, NDArray[np.float32]]
    invalid: dict[str, int]
    unlabelled: int = 0
    baseline_problem: str | None = None
    sampled: bool = False


def list_slices(task: Task, tables: Iterable[MetricTable]) -> tuple[list[SliceResult], list[LeftOut]]:
    """The largest and the worst slices of each table, at most `LISTED`, largest first; and a count of the others."""
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
    metric = ranking_metric(task)
    rows = [table.row(index) for table in tables for index in _ranked(task, table)[:WORST]]
    rows.sort(key=lambda row: row.candidate[metric] or 0.0, reverse=BEST[metric] == "low")
    return rows[:WORST]


def _ranked(task: Task, table: MetricTable) -> list[int]:
    """The slices large enough to be ranked, worst first."""
    metric = ranking_metric(task)
    values = table.candidate[metric]
    order = np.argsort(-values if BEST[metric] == "low" else values, kind="stable")
    fit = (table.examples >= RANKED_FROM) & np.isfinite(values)
    if task == "binary":
        share = table.candidate["mean_label"]
        fit &= np.minimum(share, 1 - share) * table.examples >= RANKED_FROM_RARER
    return [int(index) for index in order if fit[index]]
