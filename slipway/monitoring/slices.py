"""Whether a column moved within a slice: the rows that share the values of some columns, as module.yaml names them.

The baseline counts each column within the largest slices of its rows, by the same cells as overall. A window's slice
with fewer requests than `min_rows` says nothing. All columns of all slices together have the noise of one comparison,
`drift.ERROR_RATE`. Columns that follow the clock, and those of the slice itself, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from slipway.evaluation.results import name_slice
from slipway.monitoring.columns import Column
from slipway.monitoring.counts import Cells, Counts, coded, place
from slipway.monitoring.decision import Signal
from slipway.monitoring.drift import Distance, measure

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

# Slices by the same columns, with the place of each row among them: after the last for rows of other slices.
Group = tuple[list["Slice"], "NDArray[np.int64]"]

LARGEST = 10  # slices by the same columns
MOST_CELLS = 50  # of a column that is counted by slice
NAMED = 3


class Slice(BaseModel):
    """The rows that share these values of these columns; None is a missing one."""

    columns: list[str]
    values: list[str | None]
    rows: int = 0
    counts: dict[str, list[int]] = Field({}, description="of each column, by its cells")

    @property
    def name(self) -> str:
        """`payment_type=Cash, hour=7`."""
        return name_slice(self.columns, self.values)


class SliceColumn(BaseModel):
    """One column within one slice of a window, beside the training rows and the window before."""

    slice: str
    name: str
    rows: int
    baseline: Distance
    previous: Distance | None = None
    counts: list[int] = Field(description="by the column's cells")
    trained: list[int]


def choose_slices(columns: Mapping[str, pa.ChunkedArray], by: Sequence[str]) -> list[Slice]:
    """The slices by these columns that have the most rows."""
    values, places = _by_values(columns, by)
    rows = np.bincount(places, minlength=len(values))
    largest = np.argsort(-rows, kind="stable")[:LARGEST]
    return [Slice(columns=list(by), values=list(values[index]), rows=int(rows[index])) for index in largest]


def places_of(slices: Sequence[Slice], columns: Mapping[str, pa.Array]) -> list[Group]:
    """The slices in groups by the same columns; those by a column that is not there are left out."""
    found = []
    for by, group in groupby(slices, key=lambda one: tuple(one.columns)):
        known = list(group)
        if columns.keys() >= set(by):
            values, places = _by_values(columns, by)
            index = {tuple(one.values): number for number, one in enumerate(known)}
            found.append((known, np.array([index.get(one, len(known)) for one in values], np.int64)[places]))
    return found


def count_in(groups: Iterable[Group], name: str, cells: NDArray[np.int64], size: int) -> None:
    """Adds the values of a column to the counts of the slices.

    Args:
        groups: Of `places_of`.
        name: Of the column.
        cells: The cell of each row's value.
        size: How many cells the column has.
    """
    if size > MOST_CELLS:
        return
    for known, places in groups:
        inside = places < len(known)
        counted = np.bincount(places[inside] * size + cells[inside], minlength=len(known) * size)
        for one, found in zip(known, counted.reshape(len(known), size), strict=True):
            if name not in one.columns:
                one.counts[name] = (np.array(one.counts.get(name, 0)) + found).tolist()


def count_slices(
    slices: Sequence[Slice], columns: Mapping[str, pa.ChunkedArray], name: str, cells: Cells
) -> list[Slice]:
    """The slices with the counts of one column alone, by these cells."""
    empty = [Slice(columns=one.columns, values=one.values) for one in slices]
    groups = places_of(empty, columns)
    add_rows(groups)
    count_in(groups, name, place(columns[name], cells), cells.size)
    return empty


def add_rows(groups: Iterable[Group]) -> None:
    """Adds the rows to those of their slices."""
    for known, places in groups:
        for one, found in zip(known, np.bincount(places, minlength=len(known)), strict=False):
            one.rows += int(found)


def compare_slices(
    now: Sequence[Slice],
    trained: Sequence[Slice],
    columns: Mapping[str, Column],
    previous: Sequence[SliceColumn],
    min_rows: int,
) -> list[SliceColumn]:
    """Columns within each slice of a window that has requests enough.

    Args:
        now: The slices of the window.
        trained: Those of the baseline.
        columns: Those that are compared, of the window overall, with their cells and thresholds.
        previous: Of the window before.
        min_rows: Requests of a slice below which it says nothing.
    """
    asked = {one.name: one for one in now if one.rows >= min_rows}
    before = {(one.slice, one.name): one.counts for one in previous}
    pairs = [
        (asked[one.name], its, columns[name], name)
        for one in trained
        if one.name in asked
        for name, its in one.counts.items()
        if name in columns and name in asked[one.name].counts
    ]

    def distance(one: Slice, other: list[int], column: Column) -> Distance:
        cells = column.counts.cells
        mine, theirs = Counts(cells=cells, counts=one.counts[column.name]), Counts(cells=cells, counts=other)
        return measure(mine, theirs, column.baseline.threshold, len(pairs))

    return [
        SliceColumn(
            slice=one.name,
            name=name,
            rows=one.rows,
            baseline=distance(one, its, column),
            previous=distance(one, before[one.name, name], column) if (one.name, name) in before else None,
            counts=one.counts[name],
            trained=its,
        )
        for one, its, column, name in pairs
    ]


def moved_slices(slices: Iterable[SliceColumn], columns: Iterable[Column]) -> list[SliceColumn]:
    """What moved within a slice and not overall, which is told already; the farthest first."""
    overall = {one.name for one in columns if one.baseline.drifted or one.broken}
    moved = [one for one in slices if one.baseline.drifted and one.name not in overall]
    return sorted(moved, key=_level, reverse=True)


def slice_signal(slices: Sequence[SliceColumn], columns: Sequence[Column]) -> list[Signal]:
    """Drift within slices as the decision takes it; nothing where no slice has requests enough."""
    if not slices:
        return []
    moved = moved_slices(slices, columns)
    said = ", ".join(f"{one.name} {one.baseline.distance:.3f} in {one.slice}" for one in moved[:NAMED])
    level = max(map(_level, moved), default=0.0)
    return [Signal(cause="slices", level=level, what=f"drift of {said}" if said else "")]


def _level(one: SliceColumn) -> float:
    return one.baseline.distance / max(one.baseline.threshold, one.baseline.noise)


def _by_values(
    columns: Mapping[str, pa.Array | pa.ChunkedArray], by: Sequence[str]
) -> tuple[list[tuple[str | None, ...]], NDArray[np.int64]]:
    """The values that rows share, and the place of each row among them."""
    joint = np.zeros(len(columns[by[0]]), np.int64)
    texts: list[list[str | None]] = []
    for name in by:
        codes, known = coded(columns[name])
        texts.append([*known, None])
        joint = joint * len(texts[-1]) + codes
    present, places = np.unique(joint, return_inverse=True)
    return list(_values(present, texts)), places


def _values(present: NDArray[np.int64], texts: list[list[str | None]]) -> Iterator[tuple[str | None, ...]]:
    for code in present.tolist():
        found: list[str | None] = []
        for known in reversed(texts):
            code, index = divmod(code, len(known))
            found.insert(0, known[index])
        yield tuple(found)
