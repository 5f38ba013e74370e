"""Counts of a column's values in fixed cells: what a baseline keeps of the training rows, and a window is counted by.

A number's cells lie between the deciles of the training rows; a category's are its most frequent values. Both have two
more: `other`, for values that no cell holds, and `missing`. Cells are counted from rows: quantile histograms say n/10
for each bucket, also where values are tied, and this alone looks like drift.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

TENTHS = 10
MOST_VALUES = 1000
FEW_VALUES = 20  # whole numbers with no more values are counted value by value


class Cells(BaseModel):
    """The cells of one column.

    A number x is in the cell i for which `edges[i - 1] <= x < edges[i]`: one cell more than edges. Infinities are in
    the outer cells. A category is in the cell of its value in `values`, written as text.
    """

    kind: Literal["number", "category"]
    edges: list[float] = []
    values: list[str] = []

    @property
    def names(self) -> list[str]:
        """What each cell holds, in words; `other` and `missing` are the last two."""
        if self.kind == "category":
            return [*self.values, "other", "missing"]
        ends = ["", *(f"{edge:g}" for edge in self.edges), ""]
        between = [f"{low} to {high}" for low, high in pairwise(ends[1:-1])]
        cells = [f"below {ends[1]}", *between, f"from {ends[-2]}"] if self.edges else ["any"]
        return [*cells, "other", "missing"]


class Counts(BaseModel):
    """How many values each cell of a column holds."""

    cells: Cells
    counts: list[int] = Field(description="by cell, then other, then missing")

    @property
    def rows(self) -> int:
        """Values that were counted, with missing ones."""
        return sum(self.counts)

    @property
    def missing_share(self) -> float:
        """Of all values; 0 without any."""
        return self.counts[-1] / self.rows if self.rows else 0.0


def choose_cells(values: pa.ChunkedArray | pa.Array) -> Cells:
    """The cells that the values of the training rows suggest."""
    import pyarrow as pa

    present = values.drop_null()
    if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
        numbers = _numbers(present)
        distinct = np.unique(numbers) if pa.types.is_integer(values.type) else numbers
        if not pa.types.is_integer(values.type) or len(distinct) > FEW_VALUES:
            finite = numbers[np.isfinite(numbers)]
            if not len(finite):
                return Cells(kind="number")
            deciles = np.quantile(finite, np.arange(1, TENTHS) / TENTHS, method="inverted_cdf")
            return Cells(kind="number", edges=np.unique(deciles).tolist())
    return Cells(kind="category", values=[value for value, _ in ranked(values)[:MOST_VALUES]])


def ranked(values: pa.ChunkedArray | pa.Array) -> list[tuple[str, int]]:
    """The values as texts, without missing ones, with their counts: most frequent first, equal counts by value."""
    import pyarrow.compute as pc

    counted = [(one["values"], one["counts"]) for one in pc.value_counts(_texts(values.drop_null())).to_pylist()]
    return sorted(counted, key=lambda one: (-one[1], one[0]))


def count(values: pa.ChunkedArray | pa.Array, cells: Cells) -> Counts:
    """The values counted by cell; a value of another type than the cells' is `other`."""
    import pyarrow as pa

    if pa.types.is_null(values.type):
        return Counts(cells=cells, counts=[0] * (len(cells.names) - 1) + [len(values)])
    numeric = pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
    if cells.kind == "number":
        if not numeric:
            return Counts(cells=cells, counts=[*[0] * (len(cells.edges) + 1), len(values) - values.null_count,
                                               values.null_count])  # fmt: skip
        numbers = _numbers(values.drop_null())
        missing = len(values) - len(numbers)
        found = np.bincount(np.searchsorted(cells.edges, numbers, side="right"), minlength=len(cells.edges) + 1)
        return Counts(cells=cells, counts=[*map(int, found), 0, missing])
    counted = dict(ranked(values))
    found_values = [counted.pop(value, 0) for value in cells.values]
    known = sum(found_values)
    other = sum(counted.values())
    return Counts(cells=cells, counts=[*found_values, other, len(values) - known - other])


def add(first: Counts, second: Counts) -> Counts:
    """The counts of both, which have the same cells."""
    return Counts(cells=first.cells, counts=[a + b for a, b in zip(first.counts, second.counts, strict=True)])


def _numbers(values: pa.ChunkedArray | pa.Array) -> NDArray[np.float64]:
    """float64 without NaN, which is a missing value."""
    numbers = values.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    present: NDArray[np.float64] = numbers[~np.isnan(numbers)]
    return present


def _texts(values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Texts; a whole number as digits, also where a client sent 2.0, NaN and an empty text are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        values = pa.array([None if value != value else f"{value:.12g}" for value in values.to_pylist()], pa.string())
    elif pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        values = pa.array([value.decode(errors="replace") for value in values.to_pylist()], pa.string())
    else:
        values = values.cast(pa.string())
    texts = values.drop_null()
    return texts.filter(pc.not_equal(texts, ""))
