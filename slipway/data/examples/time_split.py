"""SQL of the split by time: timestamps are compared, never texts. A time without a zone is UTC."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from slipway.data.database import literal
from slipway.data.examples.column_types import is_moment, moment_of
from slipway.data.examples.rows import describe
from slipway.errors import ConfigError, DataError

if TYPE_CHECKING:
    from slipway.data.examples.read import TypedRows
    from slipway.module_api import TimeSplit

LATER, UNREADABLE = "__slipway_later", "__slipway_unreadable"
# ISO 8601: a date, or a date and a time of day, perhaps with an offset. DuckDB alone would take 01-06-24 for a day of
# the year 1, and would not take blanks around it.
_DATE, _TIME, _ZONE = r"\d{4}-\d{1,2}-\d{1,2}", r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?", r"Z|[+-]\d{2}(?::?[0-5]\d)?"
_DAY, _MONTH = "(0[1-9]|[12][0-9]|3[01])", "(0[1-9]|1[0-2])"
_YEAR_LAST = re.compile(rf"({_DAY}{_MONTH}|{_MONTH}{_DAY})(19|20)[0-9]{{2}}")
_HAS_YEAR = re.compile("%-?[YyGcx]")
_ISO = rf"^\s*({_DATE})(?:(?:T|\s+)({_TIME})\s*({_ZONE})?)?\s*$"


def time_columns(connection: duckdb.DuckDBPyConnection, typed: TypedRows, split: TimeSplit) -> str:
    """SQL of two columns over the raw rows.

    `LATER` is whether a row's time is at or after `eval_from`, NULL if unknown; `UNREADABLE` is then the text that is
    no time, or NULL if there is none.

    Raises:
        ConfigError: the column holds neither times nor numbers nor texts, or `eval_from` or `format` cannot be read.
    """
    if is_moment(typed.rows.types[split.column]):
        kind, value = "TIMESTAMPTZ", moment_of(split.column)
    else:
        value = next(each.value for each in typed.conversions if each.column == split.column)
        kind = describe(connection, f"(SELECT {value} AS value FROM {typed.rows.relation})")["value"]  # noqa: S608
    if kind not in ("TIMESTAMPTZ", "BIGINT", "DOUBLE", "VARCHAR"):
        raise ConfigError(f"split.column of module.yaml is {split.column!r}, which holds {kind}, no times")
    if split.format is not None and not _HAS_YEAR.search(split.format):
        raise ConfigError(f"split.format of module.yaml is {split.format!r}, without a year (%Y): these are no moments")
    later = _later(connection, kind, value, split)
    text = f"nullif(trim(CAST({value} AS VARCHAR)), '')"
    return f"{later} AS {LATER}, CASE WHEN ({later}) IS NULL THEN {text} END AS {UNREADABLE}"


def refuse_unreadable(batch: pa.RecordBatch, split: TimeSplit) -> None:
    """Fails if a batch has times that cannot be read.

    Raises:
        DataError: the message has their number, one of them, and the fix.
    """
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
    moment, seconds = _eval_from(connection, kind, split)
    if kind in ("BIGINT", "DOUBLE") and not split.format:
        return f"{value} >= {seconds!r}::DOUBLE"
    read = value if kind == "TIMESTAMPTZ" else _moment(f"CAST({value} AS VARCHAR)", split.format)
    return f"{read} >= TIMESTAMPTZ {literal(moment)}"


def _eval_from(connection: duckdb.DuckDBPyConnection, kind: str, split: TimeSplit) -> tuple[str, float]:
    """`eval_from` as DuckDB writes it, and in seconds since 1970; ISO 8601 is accepted even with a format."""
    text = literal(str(split.eval_from))
    read = f"coalesce({_moment(text, split.format)}, {_moment(text, None)})"
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


def _moment(text: str, pattern: str | None) -> str:
    """SQL of a text as a timestamp; NULL if it is none."""
    if pattern is not None:
        return f"CAST(try_strptime(trim({text}), {literal(pattern)}) AS TIMESTAMPTZ)"
    plain = f"replace(replace(upper({text}), ',', '.'), 'UTC', 'Z')"
    aware = f"TRY_CAST(rtrim(regexp_replace({plain}, '{_ISO}', '\\1 \\2\\3')) AS TIMESTAMPTZ)"
    return f"CASE WHEN regexp_matches({plain}, '{_ISO}') THEN {aware} END"


def _number(given: int | float | str) -> int | float | None:
    """`eval_from` if it is a number."""
    for kind in (int, float) if isinstance(given, str) else (type(given),):
        try:
            number = kind(given)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None
