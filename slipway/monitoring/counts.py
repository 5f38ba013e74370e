"""Counts of a column's values in fixed cells: what a baseline keeps of the training rows, and a window is counted by.

A number's cells lie between the deciles of the training rows; a category's are its most frequent values. Both have two
more: `other`, for values that no cell holds, and `missing`. Cells are counted from rows: quantile histograms say n/10
for each bucket, also where values are tied, and this alone looks like drift.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from slipway.pages.numbers import format_share, short_number

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
    lowest: float | None = Field(None, description="of the training rows' numbers; none in older baselines")
    highest: float | None = None

    @property
    def size(self) -> int:
        """How many cells there are, with `other` and `missing`, which are the last two."""
        return (len(self.values) if self.kind == "category" else len(self.edges) + 1) + 2

    @property
    def names(self) -> list[str]:
        """What each cell holds, in words."""
        if self.kind == "category":
            return [*self.values, "other", "missing"]
        edges = _told_apart(self.edges)
        between = [f"{low} to {high}" for low, high in pairwise(edges)]
        cells = [f"below {edges[0]}", *between, f"from {edges[-1]}"] if edges else ["any"]
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
            ends = {"lowest": float(finite.min()), "highest": float(finite.max())}
            return Cells(kind="number", edges=np.unique(deciles).tolist(), **ends)
    return Cells(kind="category", values=[value for value, _ in ranked(values)[:MOST_VALUES]])


def widened(cells: Cells, values: pa.ChunkedArray | pa.Array) -> Cells:
    """The cells with the range of further training rows: they do not move, and the outer ones have no end."""
    if cells.lowest is None or cells.highest is None:
        return cells
    numbers = _numbers(values.drop_null())
    ends = np.append(numbers[np.isfinite(numbers)], [cells.lowest, cells.highest])
    return cells.model_copy(update={"lowest": float(ends.min()), "highest": float(ends.max())})


def ranked(values: pa.ChunkedArray | pa.Array) -> list[tuple[str, int]]:
    """The values as texts, without missing ones, with their counts: most frequent first, equal counts by value."""
    codes, texts = coded(values)
    counted = zip(texts, np.bincount(codes, minlength=len(texts) + 1).tolist(), strict=False)
    return sorted(counted, key=lambda one: (-one[1], one[0]))


def coded(values: pa.ChunkedArray | pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    """The distinct values as texts, and the place of each value among them; a missing one's is after the last."""
    import pyarrow as pa

    encoded = pa.chunked_array(values).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    texts = [text_of(value) for value in encoded.dictionary.to_pylist()]
    distinct = {text: index for index, text in enumerate(dict.fromkeys(filter(None, texts)))}
    recoded = np.array([*(distinct.get(text or "", len(distinct)) for text in texts), len(distinct)], np.int64)
    return recoded[encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)], list(distinct)


def text_of(value: Any) -> str | None:
    """A category: whole numbers as digits, also where a client sent 2.0; NaN and an empty text are missing."""
    if value is None or value != value:
        return None
    if isinstance(value, float):
        return f"{value:.12g}"
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return (text.lower() if isinstance(value, bool) else text) or None


def place(values: pa.ChunkedArray | pa.Array, cells: Cells) -> NDArray[np.int64]:
    """The cell of each value, as a place in `Counts.counts`; a value of another type than the cells' is `other`."""
    import pyarrow as pa

    other, missing = cells.size - 2, cells.size - 1
    if pa.types.is_null(values.type):
        return np.full(len(values), missing)
    if cells.kind == "category":
        codes, texts = coded(values)
        known = {value: index for index, value in enumerate(cells.values)}
        return np.array([*(known.get(text, other) for text in texts), missing], np.int64)[codes]
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        return np.where(values.is_null().to_numpy(zero_copy_only=False), missing, other)
    numbers = values.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    return np.where(np.isnan(numbers), missing, np.searchsorted(cells.edges, numbers, side="right"))


def count(values: pa.ChunkedArray | pa.Array, cells: Cells) -> Counts:
    """The values counted by cell."""
    return Counts(cells=cells, counts=np.bincount(place(values, cells), minlength=cells.size).tolist())


def add(first: Counts, second: Counts) -> Counts:
    """The counts of both, which have the same cells."""
    return Counts(cells=first.cells, counts=[a + b for a, b in zip(first.counts, second.counts, strict=True)])


def _told_apart(numbers: list[float]) -> list[str]:
    """Numbers in as few digits as tell them apart: pages have little room for the names of cells."""
    for digits in range(3, 17):
        texts = [_without_zeros(short_number(number, digits)) for number in numbers]
        if len(set(texts)) == len(texts):
            return texts
    return [repr(number) for number in numbers]


def _without_zeros(text: str) -> str:
    """`1.5` for `1.50`, and `2k` for `2.00k`; powers of ten stay as they are."""
    return re.sub(r"\.?0+(?=[kMG]?$)", "", text) if "." in text and "e" not in text else text


def _numbers(values: pa.ChunkedArray | pa.Array) -> NDArray[np.float64]:
    """float64 without NaN, which is a missing value."""
    numbers = values.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    present: NDArray[np.float64] = numbers[~np.isnan(numbers)]
    return present


class Outside(BaseModel):
    """Numbers of a window outside the range of the training rows."""

    model_config = ConfigDict(ser_json_inf_nan="strings")  # JSON has no infinity

    lowest: float = Field(description="of the training rows")
    highest: float
    rows: int = Field(0, description="numbers of the window")
    below: int = 0
    above: int = 0
    furthest: float | None = Field(None, description="the number that is the farthest outside")
    is_unusual: bool = Field(False, description="whether there are more than chance explains")

    @property
    def share(self) -> float:
        """Of all numbers; 0 without any."""
        return (self.below + self.above) / self.rows if self.rows else 0.0

    @property
    def said(self) -> str:
        """`12 of 600 numbers (2.0 %), the furthest 900; in training 3 to 41.5`."""
        many = self.below + self.above
        furthest = f", the furthest {self.furthest:g}" if self.furthest is not None else ""
        share = format_share(self.share)
        return f"{many:,} of {self.rows:,} numbers ({share}){furthest}; in training {self.lowest:g} to {self.highest:g}"

    def add(self, values: pa.ChunkedArray | pa.Array) -> None:
        """Counts a batch; what is no number is left out."""
        import pyarrow as pa

        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            return
        numbers = _numbers(values.drop_null())
        self.rows += len(numbers)
        self.below += int((numbers < self.lowest).sum())
        self.above += int((numbers > self.highest).sum())
        known = [] if self.furthest is None else [self.furthest]
        ends = [*known, *((numbers.min(), numbers.max()) if len(numbers) else ())]
        far = max(ends, key=self._beyond, default=None)
        self.furthest = float(far) if far is not None and self._beyond(far) > 0 else None

    def judged(self, trained: int, error_rate: float) -> Outside:
        """With `is_unusual`: of rows of one distribution, k are beyond all `trained` others once in (1 + m/n)^k."""
        by_chance = (self.rows / max(self.rows + trained, 1)) ** max(self.below, self.above)
        return self.model_copy(update={"is_unusual": 2 * by_chance < error_rate})

    def _beyond(self, number: float) -> float:
        return max(self.lowest - number, number - self.highest)
