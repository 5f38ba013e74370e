"""Assigns rows to splits: by a hash of the row or of a group, by a column, or by time.

Times are compared as timestamps in DuckDB, never as texts; a time without a zone is UTC.
"""

from __future__ import annotations

import hashlib
import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.database import identifier, literal
from slipway.data.examples.row_times import check_format, moment, time_value
from slipway.errors import ConfigError, DataError
from slipway.module_api import ColumnSplit, GroupSplit, HashSplit, Split, TimeSplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slipway.data.examples.typed_rows import TypedRows

TRAIN, EVAL, NEITHER = 0, 1, 2
_MISSING = np.uint64(0x9E3779B97F4A7C15)
LATER, UNREADABLE, SPELT = "__slipway_later", "__slipway_unreadable", "__slipway_spelt"
_DAY, _MONTH = "(0[1-9]|[12][0-9]|3[01])", "(0[1-9]|1[0-2])"
_YEAR_LAST = re.compile(rf"({_DAY}{_MONTH}|{_MONTH}{_DAY})(19|20)[0-9]{{2}}")


def assign_splits(rows: pa.RecordBatch, split: Split, columns: list[str]) -> NDArray[np.int8]:
    """`TRAIN`, `EVAL` or `NEITHER` for each row, by a hash of all `columns`, or of rows that hold `LATER`, by time.

    For a split by column, the rows hold `SPELT`.
    """
    if isinstance(split, HashSplit | GroupSplit):
        hashed = [split.column] if isinstance(split, GroupSplit) else split.columns or columns
        parts = np.uint64(split.train + split.eval)
        sides = np.where(hash_rows(rows, hashed) % parts < np.uint64(split.train), TRAIN, EVAL)
        if isinstance(split, GroupSplit):
            sides[_without_group(rows.column(split.column))] = NEITHER
        return sides.astype(np.int8)
    if isinstance(split, TimeSplit):
        later = rows.column(LATER)
        known = np.where(_booleans(pc.fill_null(later, False)), EVAL, TRAIN)
        return np.where(_booleans(later.is_null()), NEITHER, known).astype(np.int8)
    values = rows.column(split.column)
    texts = [values.cast(pa.string()), rows.column(SPELT)]
    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    answer = np.full(rows.num_rows, NEITHER, dtype=np.int8)
    for code, names in ((TRAIN, split.train), (EVAL, split.eval)):
        wanted = {name.lower() if name.lower() in ("true", "false") else name for name in names} | set(names)
        for text in texts:
            answer[_booleans(pc.is_in(text, pa.array(sorted(wanted), pa.string())))] = code
        numbers = [float(number) for number in map(_number, wanted) if number is not None] if is_number else []
        if numbers:  # 1.0 is 1, however a format or a writer spells it
            answer[_booleans(pc.is_in(values.cast(pa.float64(), safe=False), pa.array(numbers)))] = code
    return answer


def _without_group(values: pa.Array) -> NDArray[np.bool_]:
    missing = _booleans(values.is_null(nan_is_null=True))
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        missing = missing | _booleans(pc.fill_null(pc.equal(pc.binary_length(values), 0), True))
    return missing


def hash_rows(rows: pa.RecordBatch, columns: Sequence[str]) -> NDArray[np.uint64]:
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
        bits = hashes[np.where(_booleans(values.is_null()), -1, _numpy(encoded.indices, np.int32))]
    return bits if values.null_count == 0 else np.where(_booleans(values.is_null()), _MISSING, bits)


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


def spelt_column(split: ColumnSplit) -> str:
    """SQL of `SPELT` over the raw rows: the split's value as the data spells it, but `true` in lower case."""
    text = f"trim(CAST({identifier(split.column)} AS VARCHAR))"
    return f"CASE WHEN lower({text}) IN ('true', 'false') THEN lower({text}) ELSE {text} END AS {SPELT}"


def time_columns(connection: duckdb.DuckDBPyConnection, typed: TypedRows, split: TimeSplit) -> str:
    """SQL of two columns over the raw rows.

    `LATER` is whether a row's time is at or after `eval_from`, NULL if unknown; `UNREADABLE` is then the text that is
    not a time, or NULL.
    """
    kind, value = time_value(connection, typed, split.column, "split.column")
    check_format(split.format, "split.format")
    later = _later(connection, kind, value, split)
    text = f"nullif(trim(CAST({value} AS VARCHAR)), '')"
    return f"{later} AS {LATER}, CASE WHEN ({later}) IS NULL THEN {text} END AS {UNREADABLE}"


def refuse_unreadable(batch: pa.RecordBatch, split: TimeSplit) -> None:
    """Fails if a batch has times that cannot be read."""
    texts = batch.column(UNREADABLE).drop_null()
    if len(texts):
        given = f"format is {split.format!r}" if split.format else f"eval_from is {split.eval_from!r}"
        raise DataError(
            f"split.column of module.yaml, {split.column!r}: {len(texts):,} of {batch.num_rows:,} rows that were read "
            f"hold no time that can be compared, such as {texts[0].as_py()!r}, where {given}. Write times as ISO 8601 "
            f"(2024-06-01, 2024-06-01T12:30:00+02:00), or state in split.format how they are written: '%d/%m/%Y'"
        )


def _later(connection: duckdb.DuckDBPyConnection, kind: str, value: str, split: TimeSplit) -> str:
    number = None if split.format else _number(split.eval_from)
    if number is not None:
        if _YEAR_LAST.fullmatch(str(split.eval_from).strip()):
            raise ConfigError(
                f"split.eval_from of module.yaml is {split.eval_from!r}: a day that ends with its year would be "
                f"compared as a number, in which the year counts least. State in split.format how it is written, "
                f"'%d%m%Y' or '%m%d%Y'; if it is a number, write {str(split.eval_from).strip()}.0"
            )
        numbers = {"TIMESTAMPTZ": f"epoch({value})", "VARCHAR": f"TRY_CAST({value} AS DECIMAL(38, 9))"}
        return f"{numbers.get(kind, value)} >= {number if isinstance(number, int) else f'{number!r}::DOUBLE'}"
    since, seconds = _eval_from(connection, kind, split)
    if kind in ("BIGINT", "DOUBLE") and not split.format:
        return f"{value} >= {seconds!r}::DOUBLE"
    read = value if kind == "TIMESTAMPTZ" else moment(f"CAST({value} AS VARCHAR)", split.format)
    return f"{read} >= TIMESTAMPTZ {literal(since)}"


def _eval_from(connection: duckdb.DuckDBPyConnection, kind: str, split: TimeSplit) -> tuple[str, float]:
    """`eval_from` as DuckDB writes it, and in seconds since 1970; ISO 8601 is accepted even with a format."""
    text = literal(str(split.eval_from))
    read = f"coalesce({moment(text, split.format)}, {moment(text, None)})"
    try:
        found = connection.execute(f"SELECT CAST({read} AS VARCHAR), epoch({read})").fetchall()[0]
    except duckdb.InvalidInputException as error:
        said = str(error).partition("\n")[0]
        raise ConfigError(f"split.format of module.yaml is {split.format!r}: {said}; write it as '%d/%m/%Y'") from error
    if found[0] is None:
        holds = "numbers" if kind in ("BIGINT", "DOUBLE") else "times"
        raise ConfigError(
            f"split: column {split.column!r} holds {holds}; eval_from should be a number, or a moment like 2015-06-30 "
            f"or 2015-06-30T12:00:00Z, not {split.eval_from!r}; or split.format, "
            f"{f'now {split.format!r}, ' if split.format else ''}should state how it is written: '%d/%m/%Y'"
        )
    return str(found[0]), float(found[1])


def _number(given: int | float | str) -> int | float | None:
    """`eval_from` if it is a number."""
    if not isinstance(given, str):
        return given
    with suppress(ValueError):
        return int(given)
    with suppress(ValueError):
        return float(given) if math.isfinite(float(given)) else None
    return None
