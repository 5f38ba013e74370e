"""The time of a row, as its data hold it: a timestamp, a number of seconds, or a text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slipway.data.database import identifier, literal
from slipway.data.examples.column_types import iso_moment
from slipway.data.examples.rows import describe
from slipway.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

    from slipway.data.examples.typed_rows import TypedRows

_HAS_YEAR = re.compile("%-?[YyGcx]")


def time_value(connection: duckdb.DuckDBPyConnection, typed: TypedRows, column: str, named_by: str) -> tuple[str, str]:
    """The type of a column of times over the raw rows, and SQL of its value: TIMESTAMPTZ, BIGINT, DOUBLE or VARCHAR."""
    if typed.rows.types[column].startswith(("DATE", "TIMESTAMP")):
        return "TIMESTAMPTZ", f"CAST({identifier(column)} AS TIMESTAMPTZ)"
    found = next(each for each in typed.conversions if each.column == column)
    value = identifier(column) if found.form == "time" else found.value  # whole seconds would lose the rest
    kind = describe(connection, f"(SELECT {value} AS value FROM {typed.rows.relation})")["value"]  # noqa: S608
    if kind not in ("BIGINT", "DOUBLE", "VARCHAR"):
        raise ConfigError(f"{named_by} of module.yaml is {column!r}, which holds {kind}, not times")
    return kind, value


def moment(text: str, pattern: str | None) -> str:
    """SQL of a text as a timestamp; NULL if it is not one."""
    if pattern is not None:
        return f"CAST(try_strptime(trim({text}), {literal(pattern)}) AS TIMESTAMPTZ)"
    return iso_moment(text)


def check_format(pattern: str | None, named_by: str) -> None:
    """Refuses a format without a year."""
    if pattern is not None and not _HAS_YEAR.search(pattern):
        raise ConfigError(f"{named_by} of module.yaml is {pattern!r}, without a year (%Y): add it")
