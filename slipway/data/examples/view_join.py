"""Joins shared features to rows: the newest values of a row's key that were known at the row's time.

Values known at exactly the row's time count, and so does a value of exactly the maximal age. A row without a time or
without a key gets missing values. DuckDB's ASOF JOIN does this; it loses the order of the rows, which is restored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from slipway.data.database import identifier, literal
from slipway.data.examples.column_types import Form, convert
from slipway.data.examples.columns import collides, no_such_column
from slipway.data.examples.row_times import check_format, moment, time_value
from slipway.data.examples.rows import BATCH, FILE, LINE, RawRows, UnsoundRowsError, describe
from slipway.data.examples.view_rows import KEY, KNOWN
from slipway.errors import ConfigError, DataError

if TYPE_CHECKING:
    from slipway.data.examples.source import Join
    from slipway.data.examples.typed_rows import TypedRows

_ROW, _AT, _OF = "__slipway_row", "__slipway_at", "__slipway_of_"
_ROWS = "__slipway_rows"
_LATEST_SECONDS = 10**11  # in the year 5138: a larger number counts milliseconds


def join_views(
    connection: duckdb.DuckDBPyConnection,
    typed: TypedRows,
    views: Sequence[tuple[Join, Path]],
    forms: Mapping[str, Form],
    name: str,
) -> TypedRows:
    """The rows with the columns of views, whose rows `write_view` wrote.

    `forms` are those that a schema decides; `name` is that of the rows' data.

    Raises:
        DataError: the rows have no such key or time, or one of another type, or a column of the same name already.
        UnsoundRowsError: the rows were trusted wrongly.
    """
    typed = in_table(connection, typed)
    for join, _ in views:
        _check_columns(join, list(typed.rows.types), name)
    first = views[0][0]
    try:
        at = _row_time(connection, typed, first.row_time, first.row_time_format, name)
    except duckdb.Error as error:
        if typed.trusted:
            raise UnsoundRowsError from error
        raise
    file, line = typed.rows.place
    own = ", ".join(map(identifier, typed.rows.types))
    values = {each.column: each.value for each in typed.conversions}
    # A key is the column's value among the examples, whatever the format.
    keys = {column for join, _ in views for column in join.keys.values()}
    numbered = {column: f"{_OF}{number}" for number, column in enumerate(sorted(keys))}
    of = "".join(f", {values[column]} AS {alias}" for column, alias in numbered.items())
    relation = (
        f"(SELECT {own}, {file} AS {FILE}, {line} AS {LINE}, row_number() OVER () AS {_ROW}, {at} AS {_AT}{of} "  # noqa: S608
        f"FROM {typed.rows.relation})"
    )
    added: dict[str, str] = {}
    for join, path in views:
        relation, kinds = _joined(connection, relation, join, path, numbered)
        added |= kinds
    hidden = ", ".join([_ROW, _AT, *numbered.values()])
    rows = RawRows(
        f"(SELECT * EXCLUDE ({hidden}) FROM {relation} ORDER BY {_ROW})",  # noqa: S608
        typed.rows.types | added,
        shapes=typed.rows.shapes,
    )
    converted = [convert(column, kind, forms.get(column)) for column, kind in added.items()]
    return replace(
        typed,
        rows=rows,
        conversions=[*typed.conversions, *converted],
        can_fail=typed.can_fail | {each.column for each in converted if each.valid},
        joined=tuple(added),
    )


def in_table(connection: duckdb.DuckDBPyConnection, typed: TypedRows) -> TypedRows:
    """The same rows; those that Python reads batch by batch as a table, since a join needs them all."""
    if typed.rows.batches is None:
        return typed
    connection.execute(f"CREATE TEMP TABLE {_ROWS} AS SELECT * FROM {typed.rows.relation} LIMIT 0")  # noqa: S608
    for batch in typed.rows.batches:
        connection.register(BATCH, pa.Table.from_batches([batch]))
        connection.execute(f"INSERT INTO {_ROWS} SELECT * FROM {typed.rows.relation}")  # noqa: S608
    return replace(typed, rows=replace(typed.rows, relation=_ROWS, batches=None))


def _check_columns(join: Join, columns: list[str], name: str) -> None:
    for key, column in join.keys.items():
        if column not in columns:
            raise DataError(
                f"{join.view} is joined by its key {key!r}, but {no_such_column(column, columns, name, {})}; "
                f"`on: {{{key}: COLUMN}}` in module.yaml names another one"
            )
    if join.row_time not in columns:
        raise DataError(
            f"features are joined as of {join.row_time!r}, ingestion.event_time of module.yaml, but "
            f"{no_such_column(join.row_time, columns, name, {})}"
        )
    own = {column.lower() for column in columns}
    for column in join.columns.values():
        if column.lower() in own:
            raise DataError(collides(column, join.view, name))


def _row_time(
    connection: duckdb.DuckDBPyConnection, typed: TypedRows, column: str, pattern: str | None, name: str
) -> str:
    """SQL of a row's time in microseconds since 1970; NULL if the row has none."""
    check_format(pattern, "ingestion.event_time_format")
    kind, value = time_value(connection, typed, column, "ingestion.event_time")
    text = f"nullif(trim(CAST({value} AS VARCHAR)), '')"
    if kind == "TIMESTAMPTZ":
        at = f"epoch_us({value})"
    elif kind == "VARCHAR" or pattern:
        at = f"epoch_us({moment(text, pattern)})"
    else:
        at = f"CASE WHEN abs({value}) < {_LATEST_SECONDS} THEN CAST(round({value} * 1000000) AS BIGINT) END"
    try:
        ((bad, example),) = connection.execute(
            f"SELECT count(*), min({text}) FROM {typed.rows.relation} WHERE {text} IS NOT NULL AND ({at}) IS NULL"  # noqa: S608
        ).fetchall()
    except duckdb.InvalidInputException as error:
        if pattern is None:
            raise
        said = str(error).partition("\n")[0]
        raise ConfigError(f"ingestion.event_time_format of module.yaml is {pattern!r}: {said}") from error
    if bad and typed.trusted:
        raise UnsoundRowsError
    if bad:
        how = f"as {pattern!r}" if pattern else "in ISO 8601 (2024-06-01T12:30:00+02:00) or as seconds since 1970"
        raise DataError(
            f"{name}: {bad:,} rows hold no time in {column!r}, ingestion.event_time of module.yaml, such as "
            f"{example!r}; it should be written {how}. ingestion.event_time_format may say how ('%d/%m/%Y %H:%M'); "
            "numbers of milliseconds are to be divided by 1000"
        )
    return at


def _joined(
    connection: duckdb.DuckDBPyConnection, relation: str, join: Join, path: Path, numbered: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """The rows with the columns of one view, and the types of these."""
    view = f"read_parquet({literal(str(path))})"
    kinds, own = describe(connection, view), describe(connection, relation)
    conditions = []
    for number, (key, column) in enumerate(join.keys.items()):
        alias, mine, its = numbered[column], own[numbered[column]], kinds[f"{KEY}{number}"]
        sides = [f"r.{alias}", f"v.{KEY}{number}"]
        if {mine, its} == {"BIGINT", "DOUBLE"}:
            wide = [mine, its].index("DOUBLE")
            sides[wide] = f"CASE WHEN {sides[wide]} = trunc({sides[wide]}) THEN TRY_CAST({sides[wide]} AS BIGINT) END"
        elif mine != its:
            raise DataError(
                f"{join.view} is joined by its key {key!r}, which is {its}, to {column!r} of the rows, which is "
                f"{mine}; write CAST({key} AS {mine}) in the view"
            )
        conditions.append(" = ".join(sides))
    fresh = "" if join.max_age is None else f" AND r.{_AT} - v.{KNOWN} <= {join.max_age * 1_000_000}"
    columns = ", ".join(
        f"CASE WHEN v.{KNOWN} IS NOT NULL{fresh} THEN v.{identifier(name)} END AS {identifier(name)}"
        for name in join.columns.values()
    )
    sql = (
        f"(SELECT r.*, {columns} FROM {relation} AS r ASOF LEFT JOIN {view} AS v "  # noqa: S608
        f"ON {' AND '.join(conditions)} AND r.{_AT} >= v.{KNOWN})"
    )
    return sql, {name: kinds[name] for name in join.columns.values()}
