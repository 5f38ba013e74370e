"""Deletes rows of a request log: those of a person who asks to be forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from slipway.data.database import connect
from slipway.errors import ConfigError, StoreError
from slipway.stores import storage

REQUEST_ID = "request_id"
_MODEL = "model="

# A number is text in a key; JSON does not tell 2 from 2.0.
_HOLDS = """
coalesce(list_bool_or(list_transform(list_filter(features, lambda each: each.name = $name), lambda each:
  coalesce(list_contains(each.strings, $value), false)
  OR coalesce(list_contains(each.ints, TRY_CAST($value AS BIGINT)), false)
  OR coalesce(list_contains(each.floats, TRY_CAST($value AS DOUBLE)), false))), false)
"""


class Found(NamedTuple):
    """A file with rows of a key: its URI, how many of its rows are the key's, and how many it had."""

    file: str
    rows: int
    of: int


def delete_rows(log: str, model: str | None, key: Mapping[str, str], *, dry_run: bool) -> Iterator[Found]:
    """Deletes rows file by file, each by one replacement; yields the files that have such rows.

    Nobody else writes to a file of the log once it is there. After an error, run it again: what is deleted stays so.

    Args:
        log: The log's folder, local, gs:// or s3://.
        model: The model's name; None for all.
        key: Names of logged features, or `request_id`, with the value that a row must have; all of them must fit.
        dry_run: Change nothing.

    Raises:
        ConfigError: the log is no folder of files.
        StoreError: there is no log, or none of the model; a file cannot be read or replaced, and those before it are
            done.
    """
    if "://" in log and not storage.in_bucket(log):
        raise ConfigError(f"{log} is no folder of Parquet files; delete rows of a table where it is, by SQL")
    logged = [name for name in storage.list_names(log) if name.startswith(_MODEL)]
    wanted = [f"{_MODEL}{quote(model, safe='')}"] if model else logged
    if not logged or not set(wanted) <= set(logged):
        there = ", ".join(name.removeprefix(_MODEL) for name in logged) or "none"
        raise StoreError(
            f"{log}: there is no log of {model or 'any model'} here; models: {there}. Correct --log or MODEL"
        )
    for file in (file for name in wanted for file in storage.list_files(storage.join(log, name))):
        if file.name.endswith(".parquet"):
            table = _read(file.uri)
            kept = _without(table, key)
            if kept.num_rows < table.num_rows:
                if not dry_run:
                    _write(file.uri, kept)
                yield Found(file.uri, table.num_rows - kept.num_rows, table.num_rows)


def _read(uri: str) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(storage.read_bytes(uri)))
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(
            f"{uri} cannot be read, so nobody knows whose rows are in it: {error}. Delete it, and run this again"
        ) from error


def _without(table: pa.Table, key: Mapping[str, str]) -> pa.Table:
    with connect("", memory_limit="1GB", threads=2) as database:
        database.register("logged", table)
        mask = pa.array([True] * table.num_rows)
        for name, value in key.items():
            is_id = name == REQUEST_ID
            parameters: dict[str, Any] = {"value": value} if is_id else {"name": name, "value": value}
            query = f"SELECT {'request_id = $value' if is_id else _HOLDS} FROM logged"  # noqa: S608 - constants
            mask = pc.and_(mask, database.sql(query, params=parameters).to_arrow_table().column(0))
    return table.filter(pc.invert(mask))


def _write(uri: str, table: pa.Table) -> None:
    content = pa.BufferOutputStream()
    pq.write_table(table, content, compression="zstd")
    storage.write_bytes(uri, content.getvalue().to_pybytes())
