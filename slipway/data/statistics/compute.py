"""Statistics of an examples artifact: the statements of `expressions`, run by DuckDB over Parquet files.

The same files give the same statistics to the last bit, on any machine: floating-point sums depend on their order, so
a column is read by one thread. Columns run side by side instead, each worker with a database of its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data import database
from slipway.data.database import identifier, literal
from slipway.data.examples.dataset import MANIFEST, SPLITS, files_of_split, read_manifest
from slipway.data.images import MeanImages, Shape, is_image, shapes_in
from slipway.data.statistics.describe import ColumnFacts, describe_image, describe_split, feature_name
from slipway.data.statistics.expressions import (
    BOUNDS,
    TABLE,
    ColumnType,
    Kind,
    bucket_bounds,
    compile_column,
    half_width,
)
from slipway.data.statistics.weighing import Weighed, compile_weighed, describe_weighed, weight_sql
from slipway.errors import DataError, StoreError
from slipway.stores.artifacts import check_whole

WORKERS = 3
WORKER_MEMORY = "200MB"  # a worker that needs more spills to disk; exact quantiles cannot, hence EXACT_ROWS
EXACT_ROWS = 8_000_000
MEAN_ROWS = 4096

_KINDS: dict[str, Kind] = {
    "BIGINT": "int64", "UTINYINT": "int64", "DOUBLE": "float64", "VARCHAR": "string", "BLOB": "binary",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Parquet files of the same columns."""

    files: Sequence[Path]
    rows: int
    columns: dict[str, ColumnType]
    shapes: dict[str, Shape] = field(default_factory=dict)
    weight: str = ""

    def is_exact(self, column: str) -> bool:
        """Whether the column's quantiles fit into memory."""
        return self.rows * prod(self.shapes.get(column, ())) <= EXACT_ROWS


def compute_statistics(examples_path: str | Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    """One dataset per split, features in the order of the columns; a split may be empty.

    Memory is bounded: three workers of 200 MB at most, whatever the number of rows.

    Raises:
        DataError: a file is damaged, or of a type that examples do not have.
        StoreError: the examples are not whole, or the disk refuses.
    """
    tables = [open_table(split_files(examples_path, split)) for split in SPLITS]
    if weight := read_manifest(examples_path).weight:
        tables = [replace(table, weight=weight) if weight in table.columns else table for table in tables]
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    for split, table, facts in zip(SPLITS, tables, _describe_columns(tables), strict=True):
        described = describe_split(split, table.rows, [column for column, _ in facts])
        for feature, (column, weighed) in zip(described.features, facts, strict=True):
            if weighed:
                described.weighted_num_examples = weighed.total
                describe_weighed(feature, column, weighed)
        for feature in described.features:
            if shape := table.shapes.get(feature_name(feature)):
                describe_image(feature, shape, _mean_images(table, feature_name(feature), examples_path))
        statistics.datasets.append(described)
    return statistics


def _mean_images(table: Table, column: str, examples_path: str | Path) -> dict[str, bytes]:
    means, label = MeanImages(table.shapes[column]), read_manifest(examples_path).label
    if is_image(means.shape):
        for file in table.files:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(MEAN_ROWS, columns=[column, label]):
                    means.add(batch.column(column), batch.column(label))
    return means.pictures()


def split_files(examples_path: str | Path, split: str) -> list[Path]:
    """The Parquet files of one split, by name; StoreError if the artifact is not whole."""
    check_whole(examples_path, MANIFEST, "ingest_examples")
    return files_of_split(examples_path, split)


def open_table(files: Sequence[Path]) -> Table:
    """Names and types of the columns and the number of rows, all from the files' footers."""
    if not files:
        return Table((), 0, {})
    columns = {}
    with connect() as connection:
        rows = run(connection, scan(files, "count(*)"), files).fetchone()[0]
        for name, type_name, *_ in run(connection, f"DESCRIBE {scan(files)}", files).fetchall():
            kind = _KINDS.get(type_name.removesuffix("[]"))
            if kind is None:
                raise DataError(f"column {name!r} is of type {type_name}: examples hold integers, floats, strings, "
                                f"binaries or lists of these; convert it before it is ingested")  # fmt: skip
            columns[name] = ColumnType(kind, is_list=type_name.endswith("[]"))
    return Table(files, int(rows), columns, shapes_in(pq.read_schema(files[0])))


def _describe_columns(tables: Sequence[Table]) -> list[list[tuple[ColumnFacts, Weighed | None]]]:
    """The facts of each column of each table, in order; by weight, too, where the table has one."""
    jobs = [(table, name, column) for table in tables for name, column in table.columns.items()]
    # Compiled before the threads start: Ibis is pure Python, so there is nothing to gain side by side.
    for table, name, column in jobs:
        compile_column(column, exact=table.is_exact(name))
        if table.weight:
            compile_weighed(column.kind)
    waiting = iter(enumerate(jobs))

    def work(_: int) -> list[tuple[int, tuple[ColumnFacts, Weighed | None]]]:
        with connect() as connection:
            return [(index, _describe_column(connection, *job)) for index, job in waiting]

    workers = max(1, min(WORKERS, os.cpu_count() or 1, len(jobs)))
    with ThreadPoolExecutor(workers) as pool:
        done = dict(chain.from_iterable(pool.map(work, range(workers))))
    facts = (done[index] for index in range(len(jobs)))
    return [[next(facts) for _ in table.columns] for table in tables]


def _describe_column(
    connection: duckdb.DuckDBPyConnection, table: Table, name: str, column: ColumnType
) -> tuple[ColumnFacts, Weighed | None]:
    sql, files = compile_column(column, exact=table.is_exact(name)), table.files
    weight = f", {weight_sql(table.weight)} AS weight" if table.weight else ""
    view = scan(files, f"{identifier(name)} AS value{weight}")
    run(connection, f"CREATE OR REPLACE TEMP VIEW {TABLE} AS {view}", files)
    values = _one_row(run(connection, sql.values, files))
    lengths = {"rows": values["rows"], "present": values["total"]}
    if sql.lengths:
        lengths = _one_row(run(connection, sql.lengths, files))
    buckets = []
    if sql.buckets and values["low"] is not None and half_width(values["low"], values["high"]):
        low, high = bucket_bounds(column.kind, values["low"], values["high"])
        bounds = f"SELECT '{low!r}'::DOUBLE AS low, '{high!r}'::DOUBLE AS high"
        run(connection, f"CREATE OR REPLACE TEMP VIEW {BOUNDS} AS {bounds}", files)
        buckets = [row for row in run(connection, sql.buckets, files).fetchall() if row[0] is not None]
    ranking = run(connection, sql.ranking, files).fetchall() if sql.ranking else []
    facts = ColumnFacts(name, column, lengths, values, buckets, ranking)
    return facts, _weigh_column(connection, table, facts) if table.weight and not column.is_list else None


def _weigh_column(connection: duckdb.DuckDBPyConnection, table: Table, column: ColumnFacts) -> Weighed:
    """The same by weight; the views are those that the column was described by."""
    sql, files = compile_weighed(column.type.kind), table.files
    total, missing = (float(each or 0) for each in run(connection, sql.totals, files).fetchone())
    weighed = Weighed(total, missing)
    if sql.ranking:
        weighed = replace(weighed, ranking=run(connection, sql.ranking, files).fetchall())
    if sql.quantiles and column.values["low"] is not None:
        quantiles = run(connection, sql.quantiles, files).fetchone()
        if None not in quantiles:
            weighed = replace(weighed, quantiles=quantiles)
        if sql.buckets and column.buckets:
            rows = run(connection, sql.buckets, files).fetchall()
            weighed = replace(weighed, buckets=[row for row in rows if row[0] is not None])
    return weighed


def scan(files: Iterable[Path], columns: str = "*") -> str:
    """A SELECT over Parquet files; the folder name `split=train` is not a column."""
    names = ", ".join(literal(str(file)) for file in files)
    return f"SELECT {columns} FROM read_parquet([{names}], hive_partitioning = false)"  # noqa: S608


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory with one thread and a spill folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="slipway-statistics-") as spill,
        database.connect(spill, memory_limit=WORKER_MEMORY, threads=1) as connection,
    ):
        # Each column is a query of its own, and a footer describes all columns: without this, time grows as a square.
        connection.execute("SET parquet_metadata_cache = true")
        yield connection


def run(
    connection: duckdb.DuckDBPyConnection, statement: str, files: Sequence[Path], parameters: Sequence[Any] = ()
) -> duckdb.DuckDBPyConnection:
    """The result of one statement over these files; DataError if one is damaged, StoreError if the system refuses."""
    folder = files[0].parent
    try:
        return connection.execute(statement, parameters)
    except duckdb.InvalidInputException as error:
        raise DataError(f"{folder}: the Parquet files cannot be read; ingest the data again: {error}") from error
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise StoreError(f"{folder}: the system refuses to read, or to write a temporary file: {error}") from error


def _one_row(result: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    names = [column[0] for column in result.description]
    return dict(zip(names, result.fetchone(), strict=True))
