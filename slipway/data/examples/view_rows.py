"""The rows of a shared feature view: its SELECT, over its data, in a database that reaches nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
_CLOCKS = ("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp")  # without parentheses


def open_view(
    connection: duckdb.DuckDBPyConnection, typed: TypedRows, joined: JoinedSource, scratch: Path
) -> dict[str, str]:
    """The types of the columns of a view's SELECT; from here on the database reads nothing but the view's data.

    Raises:
        DataError: the SELECT is none, or a column is missing or of a type that cannot be used.
    """
    columns = ", ".join(_columns(typed))
    connection.execute(f"CREATE TEMP VIEW {DATA} AS SELECT {columns} FROM {typed.rows.relation}")  # noqa: S608
    _lock(connection, joined, scratch)
    _check_statement(connection, joined.join.sql)
    _check_repeatable(connection, joined.join.sql)
    types = describe(connection, f"(\n{joined.join.sql}\n)")
    _check_columns(joined.join, types)
    return types


def write_view(connection: duckdb.DuckDBPyConnection, join: Join, types: dict[str, str], scratch: Path) -> Path:
    """Writes the rows of an opened view as Parquet: `KEY` columns, `KNOWN`, and the joined columns by their new names.

    A row without a key or a time fits no row, and is left out.

    Raises:
        DataError: rows have the same keys and time, or a column's type cannot be used.
    """
    keys = [f"{convert(key, types[key], None).value} AS {KEY}{number}" for number, key in enumerate(join.keys)]
    values = [f"{convert(one, types[one], None).value} AS {identifier(name)}" for one, name in join.columns.items()]
    known = f"epoch_us(CAST({identifier(join.time)} AS TIMESTAMPTZ)) AS {KNOWN}"
    there = " AND ".join(f"{KEY}{number} IS NOT NULL" for number in range(len(keys)))
    connection.execute(
        f"CREATE TEMP TABLE {_VIEW} AS SELECT * FROM "  # noqa: S608
        f"(SELECT {', '.join([*keys, known, *values])} FROM (\n{join.sql}\n)) WHERE {KNOWN} IS NOT NULL AND {there}"
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
    """Forbids the database all other files, addresses and extensions."""
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


def _check_repeatable(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuses what answers otherwise on each run: a cached step would keep the answer of the first."""
    found = connection.execute(
        "SELECT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
    ).fetchall()
    (parsed,) = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0]
    if moving := set(_called(json.loads(parsed))) & {*_CLOCKS, "USING SAMPLE", *(name for (name,) in found)}:
        raise DataError(
            f"it uses {', '.join(sorted(moving))}, which answers otherwise on each run; compute from the data alone: a "
            "module's rows get what was known at their time, whatever the day"
        )


def _called(node: Any) -> Iterator[str]:
    """The functions, and the columns that may be one, in a statement that DuckDB parsed."""
    if isinstance(node, dict):
        yield from ([node["function_name"].lower()] if "function_name" in node else ())
        yield from (name.lower() for name in node.get("column_names", ()) if name.lower() in _CLOCKS)
        yield from (["USING SAMPLE"] if node.get("sample") else ())
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _called(value)


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
