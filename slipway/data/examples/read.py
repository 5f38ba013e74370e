"""Opens a source of any format as rows with decided types."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from slipway.data.database import literal
from slipway.data.examples.column_types import CSV_TEXT, Conversion, Form, convert, curated_forms, infer_forms
from slipway.data.examples.csv_files import csv_rows
from slipway.data.examples.csv_repair import repair
from slipway.data.examples.quarantine import Quarantine
from slipway.data.examples.rows import BATCH, FILE, LINE, RawRows, UnsoundRowsError, check_names, describe
from slipway.data.examples.source import Source
from slipway.errors import DataError
from slipway.stores import storage

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2


@dataclass(frozen=True)
class TypedRows:
    """Rows, and the conversion of each column to its type.

    `can_fail` names the columns whose conversion may fail. A `trusted` source was not checked: if a conversion
    fails, or DuckDB skips a row, it has to be read carefully.
    """

    rows: RawRows
    conversions: list[Conversion]
    can_fail: frozenset[str]
    trusted: bool = False


def open_source(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    schema: schema_pb2.Schema | None,
    tolerated: float,
    quarantine: Quarantine,
    scratch: Path,
    *,
    careful: bool,
) -> TypedRows:
    """The rows of a source.

    Args:
        connection: DuckDB.
        source: What resolve_source found.
        schema: Decides the types of its features.
        tolerated: Share of a numeric CSV column that may be no numbers.
        quarantine: Takes the rows that cannot be parsed or decoded.
        scratch: For copies of remote and packed files.
        careful: Reads CSV files line by line, and checks every value: slower, for files with bad rows.

    Raises:
        DataError: a file is missing or damaged as a whole, or a column's name or type cannot be used.
        UnsoundRowsError: the CSV files have to be read carefully.
    """
    forms = curated_forms(schema)
    files = _local_files(source, scratch)
    if source.format == "csv":
        rows = repair(files, scratch / "clean.csv", quarantine) if careful else csv_rows(files)
        return _open_csv(connection, rows, forms, tolerated, careful=careful)
    rows = _open_typed(connection, source, files, quarantine)
    check_names(list(rows.types), source.uri)
    conversions = [convert(column, kind, forms.get(column)) for column, kind in rows.types.items()]
    return TypedRows(rows, conversions, frozenset(each.column for each in conversions if each.valid))


def _open_csv(
    connection: duckdb.DuckDBPyConnection, rows: RawRows, curated: dict[str, Form], tolerated: float, *, careful: bool
) -> TypedRows:
    """CSV rows, whose types are inferred; only the careful way checks every value."""
    forms = {column: form for column, form in curated.items() if column in rows.types}
    try:
        forms, failing = infer_forms(connection, rows, forms, tolerated, check=careful)
    except duckdb.Error as error:
        if careful:
            raise
        raise UnsoundRowsError from error
    conversions = [convert(column, CSV_TEXT, forms[column]) for column in rows.types]
    if not careful:
        failing = {each.column for each in conversions if each.valid}
    return TypedRows(rows, conversions, frozenset(failing), trusted=not careful)


def _open_typed(
    connection: duckdb.DuckDBPyConnection, source: Source, files: dict[str, Path], quarantine: Quarantine
) -> RawRows:
    """Formats whose columns have types; a reader's libraries load only when its format is read."""
    if source.format == "parquet":
        from slipway.data.examples.parquet_files import parquet_rows

        return parquet_rows(connection, files)
    if source.format == "avro":
        from slipway.data.examples.avro_files import avro_batches, avro_schema

        schema = avro_schema(files)
        return _from_batches(connection, schema, avro_batches(files, schema))
    if source.format == "tfrecord":
        from slipway.data.examples.tfrecord_files import ExampleFiles

        records = ExampleFiles(files, quarantine)
        schema = records.schema()
        return _from_batches(connection, schema, records.batches(schema))
    from slipway.data.examples.bigquery import bigquery_rows

    reader = bigquery_rows(source)
    return _from_batches(connection, reader.schema, reader, place=source.uri)


def _from_batches(
    connection: duckdb.DuckDBPyConnection, schema: pa.Schema, batches: Iterable[pa.RecordBatch], place: str = ""
) -> RawRows:
    connection.register(BATCH, schema.empty_table())
    types = describe(connection, BATCH)
    places = (literal(place), "NULL") if place else (FILE, LINE)
    return RawRows(BATCH, types, places, iter(batches))


def _local_files(source: Source, scratch: Path) -> dict[str, Path]:
    """Name to show and path of each file; those on gs:// are fetched, packed CSV files unpacked (DuckDB checks no CRC).

    Raises:
        DataError: a file is not there any more, or a packed one is damaged or cut.
    """
    files = {}
    for number, file in enumerate(source.files):
        remote, suffix = storage.is_remote(file.uri), "".join(Path(file.uri.partition("?")[0]).suffixes[-2:])
        path = scratch / f"{number:05d}{suffix}" if remote else storage.local_path(file.uri)
        if not storage.exists(file.uri):
            raise DataError(f"{file.uri}: the file was there when the source was resolved, and is gone now")
        if remote:
            storage.copy(file.uri, str(path))
        if source.format == "csv" and suffix.lower().endswith(".gz"):
            packed, path = path, scratch / f"{number:05d}.csv"
            _unpack(file.uri, packed, path)
        files[file.uri] = path
    return files


def _unpack(name: str, packed: Path, target: Path) -> None:
    try:
        with gzip.open(packed) as reader, target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, storage.BLOCK_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name}: the gzip file is damaged or cut: {error}; fetch it again, or drop .gz if it is not packed"
        ) from error
