"""Assigns rows to splits: by a hash of the row, by a column, or by time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.examples.time_split import LATER
from slipway.module_api import ColumnSplit, HashSplit, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN, EVAL, NEITHER = 0, 1, 2
_MISSING = np.uint64(0x9E3779B97F4A7C15)


def assign_splits(rows: pa.RecordBatch, split: Split, columns: list[str]) -> NDArray[np.int8]:
    """`TRAIN`, `EVAL` or `NEITHER` for each row.

    Args:
        rows: Holds at least `columns`, and `LATER` for a split by time.
        split: The module's rule.
        columns: Columns to hash, in any order.
    """
    if isinstance(split, HashSplit):
        parts = np.uint64(split.train + split.eval)
        return np.where(hash_rows(rows, columns) % parts < np.uint64(split.train), TRAIN, EVAL).astype(np.int8)
    if isinstance(split, ColumnSplit):
        return _by_column(rows.column(split.column), split)
    return _by_time(rows.column(LATER))


def _by_column(values: pa.Array, split: ColumnSplit) -> NDArray[np.int8]:
    texts = values.cast(pa.string())
    answer = np.full(len(values), NEITHER, dtype=np.int8)
    for code, names in ((TRAIN, split.train), (EVAL, split.eval)):
        found = pc.is_in(texts, pa.array(names, pa.string()))
        answer[_booleans(found)] = code
    return answer


def _by_time(later: pa.Array) -> NDArray[np.int8]:
    answer = np.where(_booleans(pc.fill_null(later, False)), EVAL, TRAIN).astype(np.int8)
    answer[_is_missing(later)] = NEITHER
    return answer


def hash_rows(rows: pa.RecordBatch, columns: list[str]) -> NDArray[np.uint64]:
    """A hash of each row's values, the same for every file, format, and order of rows or columns.

    A number hashes by its value as a double, so 1 and 1.0 are the same. Each column's hash is salted with its name and
    mixed (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014); a row's is their sum, mixed.
    """
    total = np.zeros(rows.num_rows, dtype=np.uint64)
    for column in columns:
        total += _mix(_hash_values(rows.column(column)) ^ _hash_bytes(column.encode("utf-8")))
    return _mix(total)


def _hash_values(values: pa.Array) -> NDArray[np.uint64]:
    if pa.types.is_integer(values.type):
        whole = _numpy(values, np.int64)
        double = whole.astype(np.float64)
        bits = np.where(np.abs(double) < 2**53, (double + 0.0).view(np.uint64), whole.view(np.uint64))
    elif pa.types.is_floating(values.type):
        bits = (_numpy(values, np.float64) + 0.0).view(np.uint64)  # no -0.0
    elif pa.types.is_nested(values.type):
        bits = np.array([_hash_bytes(repr(value).encode("utf-8")) for value in values.to_pylist()], dtype=np.uint64)
    else:
        encoded = values.cast(pa.binary()).dictionary_encode()
        hashes = np.array([*map(_hash_bytes, encoded.dictionary.to_pylist()), _MISSING], dtype=np.uint64)
        bits = hashes[np.where(_is_missing(values), -1, _numpy(encoded.indices, np.int32))]
    return bits if values.null_count == 0 else np.where(_is_missing(values), _MISSING, bits)


def _is_missing(values: pa.Array) -> NDArray[np.bool_]:
    return _booleans(values.is_null())


def _hash_bytes(content: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big"))


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mixes bits so that each input bit affects every output bit; the products wrap around."""
    bits = bits ^ (bits >> np.uint64(30))
    bits = bits * np.uint64(0xBF58476D1CE4E5B9)
    bits = bits ^ (bits >> np.uint64(27))
    bits = bits * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _numpy(values: pa.Array, kind: type[Any]) -> NDArray[Any]:
    """The values in memory, arbitrary where null; Arrow's `to_numpy` would import pandas."""
    return np.frombuffer(values.buffers()[1], kind, len(values) + values.offset)[values.offset :]


def _booleans(values: pa.Array) -> NDArray[np.bool_]:
    return _numpy(values.cast(pa.uint8()), np.uint8).view(np.bool_)


def as_mask(chosen: NDArray[np.bool_]) -> pa.Array:
    """The same as Arrow booleans."""
    packed = np.packbits(chosen, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(chosen), [None, pa.py_buffer(packed)])
