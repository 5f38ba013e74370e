"""Transformed features of rows: in memory, or read from Parquet row group by row group where memory is too small."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from slipway.errors import ModuleError
from slipway.limits import memory_limit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

HELD_SHARE = 0.25  # of the memory that this process may use: features beyond it are streamed
INT32 = np.iinfo(np.int32)

Spec = dict[str, tf.io.FixedLenFeature]  # shape (without the batch) and dtype of each transformed feature
Arrays = dict[str, "NDArray[Any]"]


class Features(Protocol):
    """The features of rows.

    Attributes:
        starts: The first row of each row group, and the number of rows.
        row_bytes: Of a row as `take` gives it.
    """

    starts: NDArray[np.int64]
    row_bytes: int

    def take(self, rows: NDArray[np.int64]) -> Arrays:
        """The features of some rows in their order, `[rows, *shape]`."""


class HeldFeatures:
    """Features in memory, int64 as int32 where it fits; without `starts` they count as one row group."""

    def __init__(self, arrays: Arrays, starts: NDArray[np.int64] | None = None) -> None:
        self.arrays = arrays
        rows = len(next(iter(arrays.values())))
        self.starts = np.array([0, rows]) if starts is None else starts
        self.row_bytes = _row_bytes(self.take(np.empty(0, np.int64)))

    def take(self, rows: NDArray[np.int64]) -> Arrays:
        """See `Features`."""
        found = {name: values[rows] for name, values in self.arrays.items()}
        return {name: one.astype(np.int64) if one.dtype == np.int32 else one for name, one in found.items()}


class StreamedFeatures:
    """Features in the Parquet files of transform_features: memory holds the rows asked for, and one row group."""

    def __init__(self, files: Sequence[Path | IO[bytes]], spec: Spec) -> None:
        self._shapes = {name: tuple(spec[name].shape) for name in sorted(spec)}
        self._types = {name: np.dtype(spec[name].dtype.as_numpy_dtype) for name in sorted(spec)}
        self._readers = [pq.ParquetFile(file) for file in files]
        self._groups = [(reader, index) for reader in self._readers for index in range(reader.num_row_groups)]
        sizes = [reader.metadata.row_group(index).num_rows for reader, index in self._groups]
        self.starts = np.cumsum([0, *sizes])
        self.row_bytes = _row_bytes(self._empty(0, self._types))

    def take(self, rows: NDArray[np.int64]) -> Arrays:
        """See `Features`."""
        found = self._empty(len(rows), self._types)
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(rows[order], self.starts)
        for group in np.flatnonzero(np.diff(ends)).tolist():
            places = order[ends[group] : ends[group + 1]]
            for name, values in self._read(group, list(self._types)).items():
                found[name][places] = values[rows[places] - self.starts[group]]
        pa.default_memory_pool().release_unused()
        return found

    def column(self, name: str) -> pa.ChunkedArray:
        """A column that is no feature, as the label: its values of all rows."""
        return pa.chunked_array([one for reader in self._readers for one in reader.read([name])[name].chunks])

    def copied(self, rows: NDArray[np.int64], file: Path) -> StreamedFeatures:
        """These features with the row groups of some rows, the only ones that may be taken, copied to a new file."""
        names, schema = list(self._types), self._readers[0].schema_arrow
        wanted = np.flatnonzero(np.diff(np.searchsorted(np.sort(rows), self.starts))).tolist()
        with pq.ParquetWriter(file, pa.schema([schema.field(name) for name in names]), compression="lz4") as writer:
            for reader, index in (self._groups[group] for group in wanted):
                table = reader.read_row_group(index, names)
                writer.write_table(table, table.num_rows)
        copied, own = copy.copy(self), pq.ParquetFile(file)
        copied._groups = list(self._groups)
        for index, group in enumerate(wanted):
            copied._groups[group] = (own, index)
        return copied

    def held_if_small(self) -> Features:
        """The features in memory where they take no more of it than `HELD_SHARE`, else these; reads them once.

        Raises:
            ModuleError: one is NaN or infinite.
        """
        types = self._narrowed()
        rows = int(self.starts[-1])
        if rows * _row_bytes(self._empty(0, types)) > HELD_SHARE * memory_limit():
            self.refuse_not_finite()
            return self
        arrays = self._empty(rows, types)
        for group, (start, end) in enumerate(pairwise(self.starts.tolist())):
            for name, values in self._read(group, list(arrays)).items():
                arrays[name][start:end] = values
        pa.default_memory_pool().release_unused()
        refuse_not_finite({name: count_not_finite(values) for name, values in arrays.items()})
        return HeldFeatures(arrays, self.starts)

    def refuse_not_finite(self, rows: NDArray[np.int64] | None = None) -> None:
        """Raises a ModuleError if a feature of these rows, in their order, or of all is NaN or infinite; reads them."""
        counts = {name: 0 for name, dtype in self._types.items() if dtype.kind == "f"}
        ends = self.starts if rows is None else np.searchsorted(rows, self.starts)
        for group in np.flatnonzero(np.diff(ends)).tolist():
            chosen = slice(None) if rows is None else rows[ends[group] : ends[group + 1]] - self.starts[group]
            for name, values in self._read(group, list(counts)).items():
                counts[name] += count_not_finite(values[chosen])
        pa.default_memory_pool().release_unused()
        refuse_not_finite(counts)

    def _empty(self, rows: int, types: dict[str, np.dtype[Any]]) -> Arrays:
        return {name: np.empty((rows, *shape), types[name]) for name, shape in self._shapes.items()}

    def _read(self, group: int, names: list[str]) -> Arrays:
        reader, index = self._groups[group]
        table = reader.read_row_group(index, names)
        return {name: self._array(table[name], name) for name in names}

    def _array(self, column: pa.ChunkedArray, name: str) -> NDArray[Any]:
        while pa.types.is_fixed_size_list(column.type):
            column = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
        return np.asarray(column.to_numpy()).reshape(-1, *self._shapes[name])

    def _narrowed(self) -> dict[str, np.dtype[Any]]:
        """Types in memory: int64 is int32 where the files' statistics say that all values fit."""
        whole = {name for name, dtype in self._types.items() if dtype == np.int64}
        for reader, index in self._groups:
            group = reader.metadata.row_group(index)
            for column in (group.column(place) for place in range(group.num_columns)):
                name, known = column.path_in_schema.split(".")[0], column.statistics
                if name in whole and not (
                    known and known.has_min_max and INT32.min <= known.min <= known.max <= INT32.max
                ):
                    whole.discard(name)
        return self._types | dict.fromkeys(whole, np.dtype(np.int32))


def count_not_finite(values: NDArray[Any]) -> int:
    """How many values are NaN or infinite."""
    return int(np.count_nonzero(~np.isfinite(values))) if values.dtype.kind == "f" else 0


def refuse_not_finite(counts: Mapping[str, int]) -> None:
    """Raises a ModuleError that names the first feature with values that are NaN or infinite."""
    for name, count in counts.items():
        if count:
            raise ModuleError(
                f"preprocessing_fn answers {name!r} with NaN or infinity in {count} places of the training split: "
                "fill missing values, and bound what is divided or exponentiated"
            )


def _row_bytes(arrays: Arrays) -> int:
    return sum(values.itemsize * int(np.prod(values.shape[1:])) for values in arrays.values())
