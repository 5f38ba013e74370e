"""The interface of all readers: rows as a relation of DuckDB, each with its file and line."""

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
        relation: SQL for the FROM clause.
        types: Column name to DuckDB's type, in the order of the data.
        place: SQL of a row's file and line; the line is NULL if the reader does not know it.
        batches: The rows, if Python reads them; the relation is then `BATCH`, one batch at a time.
    """

    relation: str
    types: dict[str, str]
    place: tuple[str, str] = (FILE, LINE)
    batches: Iterator[pa.RecordBatch] | None = None


class UnsoundRowsError(Exception):
    """The rows are bad in a way that only careful reading can locate; handled inside this package."""


def describe(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Names and types of a relation's columns, without file and line."""
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
