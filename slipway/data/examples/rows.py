"""What every reader hands over: rows as DuckDB sees them, with the place that each came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FILE, LINE = "__slipway_file", "__slipway_line"
BATCH = "__slipway_batch"


@dataclass(frozen=True)
class RawRows:
    """Rows before their types are decided.

    Attributes:
        relation: SQL of what stands behind FROM.
        types: Column name to DuckDB's type, in the order of the data.
        place: SQL of a row's file and line; the line is NULL where the reader cannot tell it.
        batches: The rows, where Python reads them; then the relation is `BATCH`, one batch at a time.
    """

    relation: str
    types: dict[str, str]
    place: tuple[str, str] = (FILE, LINE)
    batches: Iterator[pa.RecordBatch] | None = None


class UnsoundRowsError(Exception):
    """Something is wrong with the rows, and only the careful way of reading can tell what; never seen outside."""


def identifier(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def describe(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Names and types of a relation's columns, without those of a row's place."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()  # noqa: S608
    return {name: kind for name, kind, *_ in described if name not in (FILE, LINE)}


def check_names(names: list[str], source: str) -> None:
    """Refuses columns without a name, and names that occur twice (upper and lower case are the same to SQL).

    Raises:
        DataError: the message has the column's position.
    """
    seen: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if not name:
            raise DataError(
                f"{source}: column {position} has no name in the header; name it, or leave it out "
                "(pandas writes its index so: use to_csv(index=False))"
            )
        first = seen.setdefault(name.lower(), position)
        if first != position:
            raise DataError(
                f"{source}: the column name {name!r} occurs twice, in columns {first} and {position}; rename one"
            )
