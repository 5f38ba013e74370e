"""What all readers share: rows as a relation of DuckDB, and the quarantine of rows that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from slipway.data.database import literal
from slipway.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from slipway.data.examples.source import Source
    from slipway.data.images import Shape

RESERVED = "__slipway_"
FILE, LINE = "__slipway_file", "__slipway_line"
BATCH = "__slipway_batch"
KEPT = "__slipway_kept_"  # begins the name of a column that is handed on as the data has it
RAW_CHARACTERS = 1000


class UnsoundRowsError(Exception):
    """The rows are bad in a way that only careful reading can locate; handled inside this package."""


@dataclass(frozen=True)
class RawRows:
    """Rows before their types are decided.

    Attributes:
        relation: SQL for the FROM clause.
        types: Column name to DuckDB's type, in the order of the data.
        place: SQL of a row's file and line; the line is NULL if the reader does not know it.
        batches: The rows, if Python reads them; the relation is then `BATCH`, one batch at a time.
        shapes: The shape of the values of each column whose lists are images.
    """

    relation: str
    types: dict[str, str]
    place: tuple[str, str] = (FILE, LINE)
    batches: Generator[pa.RecordBatch] | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict)


class Quarantine:
    """Writes `quarantine.jsonl` row by row, one object a line; without rows there is no file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: IO[str] | None = None

    def add(self, file: str, line: int | None, reason: str, raw: str) -> None:
        """Keeps a row; lines count from 1 with the header's, in other formats it is the row's number."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8")
        record = {"file": file, "line": line, "reason": reason, "raw": raw[:RAW_CHARACTERS]}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.count += 1

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True)
class Opening:
    """What a reader gets: `files` maps the name to show of each file to its path on this machine.

    A reader need not understand the columns in `ignore`.
    """

    connection: duckdb.DuckDBPyConnection
    source: Source
    files: dict[str, Path]
    quarantine: Quarantine
    ignore: frozenset[str] = frozenset()

    def rows_of(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], place: str = "") -> RawRows:
        """Rows that Python reads; with columns `FILE` and `LINE` in them, or all of one place."""
        self.connection.register(BATCH, schema.empty_table())
        places = (literal(place), "NULL") if place else (FILE, LINE)
        return RawRows(BATCH, describe(self.connection, BATCH), places, _each(batches))


def _each(batches: Iterable[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
    yield from batches  # which closes a generator of a file with this one


def file_of(opening: Opening) -> str:
    """SQL of the name to show, where DuckDB gives the path in `FILE`."""
    shown = ", ".join(f"{literal(str(path))}: {literal(name)}" for name, path in opening.files.items())
    return f"MAP {{{shown}}}[{FILE}]"


def describe(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Names and types of a relation's columns, without file and line."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()  # noqa: S608
    return {name: kind for name, kind, *_ in described if name not in (FILE, LINE)}


def check_reserved(names: Iterable[str], source: str) -> None:
    """Refuses names of our own queries."""
    for name in names:
        if name.startswith(RESERVED):
            raise DataError(f"{source}: the column name {name!r} is reserved for Slipway; rename the column")


def check_names(names: list[str], source: str) -> None:
    """Refuses columns without a name, names of our own queries, and names that occur twice (to SQL, `a` is `A`)."""
    check_reserved(names, source)
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
