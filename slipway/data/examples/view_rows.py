"""The rows of a shared feature view: its SELECT, over its data, in a database that reaches nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.parquet as pq

from slipway.data.database import identifier, literal
from slipway.data.examples.column_types import convert
from slipway.data.examples.row_times import moment
from slipway.data.examples.rows import check_reserved, describe
from slipway.errors import DataError
from slipway.stores import storage
from slipway.strict_yaml import did_you_mean

if TYPE_CHECKING:
    from slipway.data.examples.source import Join, JoinedSource
    from slipway.data.examples.typed_rows import TypedRows

DATA = "data"  # what a view's SELECT calls its data
KNOWN, KEY = "__slipway_known", "__slipway_key_"  # the view's time, in microseconds since 1970, and its keys by number
_VIEW = "__slipway_view"
_BATCH_ROWS = 65_536
_SHOWN = 3


def write_view(connection: duckdb.DuckDBPyConnection, typed: TypedRows, joined: JoinedSource, scratch: Path) -> Path:
    """Writes the rows of a view as Parquet: `KEY` columns, `KNOWN`, and the joined columns under their new names.

    A row without a key or a time fits no row, and is left out.

    Raises:
        DataError: the SELECT is none, a column is missing or of a type that cannot be used, or rows have the same keys
            and time.
    """
    join = joined.join
    columns = ", ".join(_columns(typed))
    connection.execute(f"CREATE TEMP VIEW {DATA} AS SELECT {columns} FROM {typed.rows.relation}")  # noqa: S608
    _lock(connection, joined, scratch)
    _check_statement(connection, join.sql)
    query = f"(\n{join.sql}\n)"
    types = describe(connection, query)
    _check_columns(join, types)
    keys = [f"{convert(key, types[key], None).value} AS {KEY}{number}" for number, key in enumerate(join.keys)]
    values = [f"{convert(one, types[one], None).value} AS {identifier(name)}" for one, name in join.columns.items()]
    known = f"epoch_us(CAST({identifier(join.time)} AS TIMESTAMPTZ)) AS {KNOWN}"
    there = " AND ".join(f"{KEY}{number} IS NOT NULL" for number in range(len(keys)))
    connection.execute(
        f"CREATE TEMP TABLE {_VIEW} AS SELECT * FROM (SELECT {', '.join([*keys, known, *values])} FROM {query}) "  # noqa: S608
        f"WHERE {KNOWN} IS NOT NULL AND {there}"
    )
    _check_unique(connection, join)
    path = scratch / "rows.parquet"
    reader = connection.sql(f"FROM {_VIEW}").to_arrow_reader(_BATCH_ROWS)
    with pq.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return path


def _columns(typed: TypedRows) -> list[str]:
    """SQL of the columns of `data`: of text files as their values look, times as timestamps; of others as they are."""
    columns = []
    for one in typed.conversions:
        value = {"time": moment(identifier(one.column), None), None: identifier(one.column)}.get(one.form, one.value)
        columns.append(f"{value} AS {identifier(one.column)}")
    return columns


def _lock(connection: duckdb.DuckDBPyConnection, joined: JoinedSource, scratch: Path) -> None:
    """From here on the database reads the view's data alone: no other file, no address, no extension."""
    files = [file.uri for file in joined.source.files if not storage.is_remote(file.uri)]
    paths = ", ".join(literal(str(storage.local_path(file))) for file in files)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute(f"SET allowed_directories = [{literal(str(scratch))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _check_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
        raise DataError(f"it holds {len(statements)} statements, or one that is no SELECT; a view is one SELECT")


def _check_columns(join: Join, types: dict[str, str]) -> None:
    check_reserved(types, "its SELECT")
    named = [("keys", key) for key in join.keys] + [("time", join.time)]
    for what, column in [*named, *(("features of module.yaml", column) for column in join.columns)]:
        if column not in types:
            listed = ", ".join(types)
            raise DataError(
                f"{what} names {column!r}, which its SELECT does not have{did_you_mean(column, types)}; "
                f"its columns are: {listed}"
            )
    kind, name = types[join.time], identifier(join.time)
    if not kind.startswith("TIMESTAMP"):
        fixes = {
            "DATE": f"a day's values are known at its end, for instance: CAST({name} AS TIMESTAMP) + INTERVAL 1 DAY",
            "VARCHAR": f"write CAST({name} AS TIMESTAMPTZ)",
        }
        fix = fixes.get(kind, f"of seconds since 1970, write to_timestamp({name})")
        raise DataError(f"time, {join.time!r}, is {kind}, and has to be a TIMESTAMP: when the values were known; {fix}")
    for key in join.keys:
        if types[key].endswith("]"):
            raise DataError(f"key {key!r} is {types[key]}; a key is one value a row")


def _check_unique(connection: duckdb.DuckDBPyConnection, join: Join) -> None:
    keys = ", ".join(f"{KEY}{number}" for number in range(len(join.keys)))
    found = connection.execute(
        f"SELECT {keys}, make_timestamp({KNOWN}), count(*), count(*) OVER () FROM {_VIEW} "  # noqa: S608
        f"GROUP BY {keys}, {KNOWN} HAVING count(*) > 1 ORDER BY ALL LIMIT {_SHOWN}"
    ).fetchall()
    if found:
        names = [*join.keys, join.time]
        shown = "; ".join(
            ", ".join(f"{name} = {value}" for name, value in zip(names, row, strict=False)) + f" ({row[-2]} rows)"
            for row in found
        )
        raise DataError(
            f"{found[0][-1]:,} times rows have the same {' and '.join(names)}, so that none is the one that counts: "
            f"{shown}. Aggregate in the SELECT, or keep one: QUALIFY row_number() OVER (PARTITION BY … ORDER BY …) = 1"
        )
