"""Columns that only the names of folders hold: `day=2024-01-01/part.parquet`, as Hive and Spark write them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from slipway.data.database import identifier, literal
from slipway.data.examples.column_types import CSV_TEXT, Form, infer_forms
from slipway.data.examples.rows import RawRows
from slipway.data.examples.source import SPAN, Source, names_below

if TYPE_CHECKING:
    import duckdb

    from slipway.module_api import Ingestion

MISSING = "__HIVE_DEFAULT_PARTITION__"

Partitions = dict[str, dict[str, str | None]]  # by column, then by file


def find_partitions(source: Source) -> Partitions:
    """The values of each file, of folders below the one that the data's URI names; a `{SPAN}` is no column."""
    if SPAN in source.uri or not source.files:
        return {}
    files = [source.shown(file) for file in source.files]
    found: Partitions = {}
    for file, path in zip(files, names_below(source.uri, files), strict=True):
        for part in path.split("/")[:-1]:
            name, equals, value = part.partition("=")
            if equals and name:
                values = found.setdefault(unquote(name), {})
                values[file] = None if value in (MISSING, "") else unquote(value)
    return found


def with_partitions(rows: RawRows, partitions: Partitions, file: str) -> RawRows:
    """The rows with a text column for each partition; `file` is SQL of the name of a row's file."""
    own = {name.lower() for name in rows.types}
    added = {column: values for column, values in partitions.items() if column.lower() not in own}
    if not added:
        return rows
    columns = ", ".join(
        f"MAP {{{', '.join(f'{literal(uri)}: {_text(value)}' for uri, value in values.items())}}}[{file}] "
        f"AS {identifier(column)}"
        for column, values in added.items()
    )
    relation = f"(SELECT *, {columns} FROM {rows.relation})"  # noqa: S608
    return replace(rows, relation=relation, types=rows.types | dict.fromkeys(added, CSV_TEXT))


def partition_forms(
    connection: duckdb.DuckDBPyConnection, rows: RawRows, partitions: Partitions, ingestion: Ingestion
) -> dict[str, Form]:
    """The form of each partition among the columns, by the values of all files."""
    kept = {column: values for column, values in partitions.items() if rows.types.get(column) == CSV_TEXT}
    if not kept:
        return {}
    lists = (
        f"unnest([{', '.join(map(_text, values.values()))}]) AS {identifier(column)}" for column, values in kept.items()
    )
    texts = RawRows(f"(SELECT {', '.join(lists)})", dict.fromkeys(kept, CSV_TEXT))
    return infer_forms(connection, texts, {}, ingestion, check=True)[0]


def _text(value: str | None) -> str:
    return "NULL::VARCHAR" if value is None else literal(value)
