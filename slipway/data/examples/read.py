"""Opens a source, whatever its format, as rows with their types decided."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.data.examples.column_types import CSV_TEXT, Conversion, Form, convert, curated_forms, infer_forms
from slipway.data.examples.quarantine import Quarantine
from slipway.data.examples.rows import BATCH, FILE, LINE, RawRows, UnsoundRowsError, check_names, describe, literal
from slipway.data.examples.source import Source
from slipway.errors import DataError
from slipway.stores import storage

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2


@dataclass(frozen=True)
class TypedRows:
    """Rows, and how each column's values are brought to its type.

    `can_fail` names the columns where that may fail. A `trusted` source was not looked through: a failure in it, or a
    row that DuckDB left out, asks for the careful way.
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
        tolerated: Share of a CSV column's values that may be something else than numbers.
        quarantine: Takes the rows that cannot be told apart or decoded.
        scratch: For copies of files that are not here, or packed.
        careful: Whether CSV files are known not to be sound.

    Raises:
        DataError: a file is missing or damaged as a whole, or a column's name or type cannot be used.
        UnsoundRowsError: the CSV files need care.
    """
    forms = curated_forms(schema)
    files = _local_files(source, scratch)
    if source.format == "csv":
        if careful:
            return _open_csv_carefully(connection, files, forms, tolerated, quarantine, scratch)
        return _open_csv(connection, files, forms, tolerated)
    rows = _open_typed(connection, source, files, quarantine)
    check_names(list(rows.types), source.uri)
    conversions = [convert(column, kind, forms.get(column)) for column, kind in rows.types.items()]
    return TypedRows(rows, conversions, frozenset(each.column for each in conversions if each.valid))


def _open_csv(
    connection: duckdb.DuckDBPyConnection, files: dict[str, Path], curated: dict[str, Form], tolerated: float
) -> TypedRows:
    """DuckDB's own reading: fast, and right where all rows are sound."""
    import duckdb

    from slipway.data.examples.csv_files import csv_rows

    rows = csv_rows(files)
    try:
        forms, _ = infer_forms(connection, rows, _of_these(curated, rows), tolerated, check=False)
    except duckdb.Error as error:
        raise UnsoundRowsError from error
    conversions = [convert(column, CSV_TEXT, forms[column]) for column in rows.types]
    return TypedRows(rows, conversions, frozenset(each.column for each in conversions if each.valid), trusted=True)


def _open_csv_carefully(
    connection: duckdb.DuckDBPyConnection,
    files: dict[str, Path],
    curated: dict[str, Form],
    tolerated: float,
    quarantine: Quarantine,
    scratch: Path,
) -> TypedRows:
    """Line by line: slower, and every row is accounted for."""
    from slipway.data.examples.csv_repair import repair

    rows = repair(files, scratch / "clean.csv", quarantine)
    forms, failing = infer_forms(connection, rows, _of_these(curated, rows), tolerated, check=True)
    return TypedRows(rows, [convert(column, CSV_TEXT, forms[column]) for column in rows.types], frozenset(failing))


def _of_these(curated: dict[str, Form], rows: RawRows) -> dict[str, Form]:
    return {column: form for column, form in curated.items() if column in rows.types}


def _open_typed(
    connection: duckdb.DuckDBPyConnection, source: Source, files: dict[str, Path], quarantine: Quarantine
) -> RawRows:
    """Formats whose columns have types."""
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
    from slipway.data.examples.bigquery import warehouse_rows

    reader = warehouse_rows(source)
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
