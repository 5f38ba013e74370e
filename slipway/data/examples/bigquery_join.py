"""The join of shared features in BigQuery's SQL, which has no ASOF JOIN: where rows and features are tables there."""

from __future__ import annotations

import re

from slipway.data.examples.bigquery import AS_OF, query_of
from slipway.data.examples.source import Join, Source
from slipway.errors import DataError

_ROW, _AT, _KNOWN, _KEY, _ONE = "__slipway_row", "__slipway_at", "__slipway_known", "__slipway_key_", "__slipway_one"


def view_query(join: Join, *, keeps_history: bool = False) -> str:
    """A view's SELECT over its table, which it calls `data`, as of a moment if the table keeps its history.

    Raises:
        DataError: the view's data are no table.
    """
    table = join.data.removeprefix("bq://")
    if not re.fullmatch(r"[^.`\\]+\.[^.`\\]+\.[^.`\\]+", table):
        raise DataError(f"features/{join.view}.sql: data is {join.data!r}; write bq://project.dataset.table")
    moment = f" FOR SYSTEM_TIME AS OF {AS_OF}" if keeps_history else ""
    return f"WITH data AS (SELECT * FROM `{table}`{moment}) SELECT * FROM (\n{join.sql}\n)"  # noqa: S608


def fits(source: Source) -> bool:
    """Whether BigQuery can join the features of a source; else they are joined here, from what it answers."""
    return source.format == "bigquery" and all(
        one.source.format == "bigquery" and one.join.row_time_format is None for one in source.features
    )


def with_joins(source: Source) -> Source:
    """A query for the rows of a source with their features.

    Each row gets the newest of a view's rows that were known at its time. A view with two rows of the same keys and
    time ends the query with an error that names them.
    """
    rows = query_of(source)
    at = _name(source.features[0].join.row_time)
    query = f"SELECT *, GENERATE_UUID() AS {_ROW}, UNIX_MICROS(CAST({at} AS TIMESTAMP)) AS {_AT} FROM (\n{rows}\n)"  # noqa: S608
    for one in source.features:
        query = _joined(query, one.join, query_of(one.source))
    query = f"SELECT * EXCEPT ({_ROW}, {_AT}) FROM ({query})"  # noqa: S608
    return source.model_copy(update={"table": None, "query": query, "as_of": None, "features": []})


def _joined(rows: str, join: Join, view: str) -> str:
    keys = [f"{_name(key)} AS {_KEY}{number}" for number, key in enumerate(join.keys)]
    unique = ", ".join(map(_name, [*join.keys, join.time]))
    said = _text(f"features/{join.view}.sql: several rows have the same {', '.join([*join.keys, join.time])}: ")
    one = (
        f"IF(COUNT(*) OVER (PARTITION BY {unique}) > 1, "
        f"ERROR(CONCAT({said}, TO_JSON_STRING(STRUCT({unique})))), 1) AS {_ONE}"
    )
    known = f"UNIX_MICROS({_name(join.time)}) AS {_KNOWN}"
    its = ", ".join([*keys, known, *map(_name, join.columns), one])
    equal = " AND ".join(f"r.{_name(column)} = v.{_KEY}{number}" for number, column in enumerate(join.keys.values()))
    fresh = "TRUE" if join.max_age is None else f"r.{_AT} - v.{_KNOWN} <= {join.max_age * 1_000_000}"
    columns = ", ".join(f"IF({fresh}, v.{_name(column)}, NULL) AS {_name(new)}" for column, new in join.columns.items())
    there = " AND ".join(f"{_name(column)} IS NOT NULL" for column in [*join.keys, join.time])
    return (
        f"SELECT r.*, {columns} FROM ({rows}) AS r LEFT JOIN (SELECT {its} FROM (\n{view}\n) WHERE {there}) AS v "  # noqa: S608
        f"ON {equal} AND v.{_ONE} = 1 AND v.{_KNOWN} <= r.{_AT} WHERE TRUE "
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY r.{_ROW} ORDER BY v.{_KNOWN} DESC) = 1"
    )


def _name(column: str) -> str:
    escaped = column.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
