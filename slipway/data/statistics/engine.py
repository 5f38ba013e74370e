"""Runs the statements of `expressions` with DuckDB over Parquet files.

The same files give the same statistics to the last bit, on any machine: floating-point sums depend on their order, so
a column is read by one thread. Columns run side by side instead, each worker with a database of its own.
"""

from __future__ import annotations

import os
import queue
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from slipway.data import database
from slipway.data.database import identifier, literal
from slipway.data.statistics.expressions import BOUNDS, TABLE, ColumnType, Kind, compile_column, half_width
from slipway.errors import DataError, StoreError

WORKERS = 3
WORKER_MEMORY = "200MB"  # a worker that needs more spills to disk; exact quantiles cannot, hence EXACT_ROWS
EXACT_ROWS = 8_000_000

_KINDS: dict[str, Kind] = {
    "BIGINT": "int64",
    "INTEGER": "int64",
    "SMALLINT": "int64",
    "TINYINT": "int64",
    "DOUBLE": "float64",
    "FLOAT": "float64",
    "VARCHAR": "string",
    "BLOB": "binary",
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Parquet files of the same columns."""

    files: Sequence[Path]
    rows: int
    columns: dict[str, ColumnType]


@dataclass(frozen=True)
class ColumnFacts:
    """The results of the statements of one column.

    `buckets` holds (bucket, frequency, sum, sum of squares) of positions; it is empty if all values are equal.
    `ranking` holds (value, frequency), most frequent first.
    """

    name: str
    type: ColumnType
    lengths: Row
    values: Row
    unique: int
    buckets: Sequence[tuple[int, int, float, float]] = ()
    ranking: Sequence[tuple[str, int]] = ()


def open_table(files: Sequence[Path]) -> Table:
    """Names and types of the columns, in the files' order, and the number of rows, all from the files' footers.

    Raises:
        DataError: a file cannot be read, or a column is of a type that examples do not have.
    """
    if not files:
        return Table((), 0, {})
    columns = {}
    with connect() as connection:
        for name, type_name, *_ in run(connection, f"DESCRIBE {scan(files)}", files).fetchall():
            element, bracket, _ = type_name.partition("[")
            if element not in _KINDS or type_name.count("[") > 1:
                raise DataError(f"column {name!r} is of type {type_name}: examples hold integers, floats, strings, "
                                f"binaries or lists of these; convert it before it is ingested")  # fmt: skip
            columns[name] = ColumnType(_KINDS[element], is_list=bool(bracket))
        rows = run(connection, scan(files, "count(*)"), files).fetchone()[0]
    return Table(files, int(rows), columns)


def describe_columns(tables: Sequence[Table]) -> list[list[ColumnFacts]]:
    """The facts of each column of each table, in order."""
    jobs = [(table, name, column) for table in tables for name, column in table.columns.items()]
    # Compiled before the threads start: Ibis is pure Python, so there is nothing to gain side by side.
    for table, _, column in jobs:
        compile_column(column, exact=table.rows <= EXACT_ROWS)
    workers = max(1, min(WORKERS, os.cpu_count() or 1, len(jobs)))
    with ExitStack() as stack:
        connections: queue.SimpleQueue[duckdb.DuckDBPyConnection] = queue.SimpleQueue()
        for _ in range(workers):
            connections.put(stack.enter_context(connect()))

        def describe(job: tuple[Table, str, ColumnType]) -> ColumnFacts:
            connection = connections.get()
            try:
                return _describe_column(connection, *job)
            finally:
                connections.put(connection)

        pool = stack.enter_context(ThreadPoolExecutor(workers))
        facts = iter(list(pool.map(describe, jobs)))
    return [[next(facts) for _ in table.columns] for table in tables]


def _describe_column(connection: duckdb.DuckDBPyConnection, table: Table, name: str, column: ColumnType) -> ColumnFacts:
    sql, files = compile_column(column, exact=table.rows <= EXACT_ROWS), table.files
    view = scan(files, f"{identifier(name)} AS value")
    run(connection, f"CREATE OR REPLACE TEMP VIEW {TABLE} AS {view}", files)
    values = _one_row(run(connection, sql.values, files))
    lengths = {"rows": values["rows"], "present": values["total"]}
    if sql.lengths:
        lengths = _one_row(run(connection, sql.lengths, files))
    unique = int(values.get("unique") or 0)
    if sql.buckets and values["low"] is not None and half_width(values["low"], values["high"]):
        bounds = f"SELECT '{values['low']!r}'::DOUBLE AS low, '{values['high']!r}'::DOUBLE AS high"
        run(connection, f"CREATE OR REPLACE TEMP VIEW {BOUNDS} AS {bounds}", files)
        buckets = [row for row in run(connection, sql.buckets, files).fetchall() if row[0] is not None]
        return ColumnFacts(name, column, lengths, values, unique, buckets=buckets)
    if sql.ranking:
        ranking = run(connection, sql.ranking, files).fetchall()
        unique = int(ranking[0][2]) if ranking else 0
        ranked = [(value, int(count)) for value, count, _ in ranking]
        return ColumnFacts(name, column, lengths, values, unique, ranking=ranked)
    return ColumnFacts(name, column, lengths, values, unique)


def scan(files: Iterable[Path], columns: str = "*") -> str:
    """A SELECT over Parquet files; the folder `split=train` is no column."""
    names = ", ".join(literal(str(file)) for file in files)
    return f"SELECT {columns} FROM read_parquet([{names}], hive_partitioning = false)"  # noqa: S608


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory with one thread and a spill folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="slipway-statistics-") as spill,
        database.connect(spill, memory_limit=WORKER_MEMORY, threads=1) as connection,
    ):
        yield connection


def run(
    connection: duckdb.DuckDBPyConnection, statement: str, files: Sequence[Path], parameters: Sequence[Any] = ()
) -> duckdb.DuckDBPyConnection:
    """The result of one statement over these files.

    Raises:
        DataError: a file is damaged.
        StoreError: the disk or the bucket refuses, or what does not fit into memory has no room on the disk.
    """
    folder = files[0].parent if files else "the examples"
    try:
        return connection.execute(statement, parameters)
    except duckdb.InvalidInputException as error:
        raise DataError(f"{folder}: the Parquet files cannot be read; ingest the data again: {error}") from error
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise StoreError(f"{folder}: the system refuses to read, or to write a temporary file: {error}") from error


def _one_row(result: duckdb.DuckDBPyConnection) -> Row:
    names = [column[0] for column in result.description]
    return dict(zip(names, result.fetchone(), strict=True))
