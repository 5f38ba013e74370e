"""Opens a source, whatever its format, as rows with their types decided."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway import storage
from slipway.errors import DataError
from slipway.examples.column_types import Conversion, Form, convert, curated_forms, infer_forms
from slipway.examples.quarantine import Quarantine
from slipway.examples.rows import BATCH, FILE, LINE, RawRows, check_names, describe, literal
from slipway.examples.source import Source

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2


@dataclass(frozen=True)
class TypedRows:
    """Rows, and how each column's values are brought to its type; `can_fail` names the columns where that may fail."""

    rows: RawRows
    conversions: list[Conversion]
    can_fail: frozenset[str]


def open_source(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    schema: schema_pb2.Schema | None,
    tolerated: float,
    quarantine: Quarantine,
    scratch: Path,
) -> TypedRows:
    """The rows of a source.

    Args:
        connection: DuckDB.
        source: What resolve_source found.
        schema: Decides the types of its features.
        tolerated: Share of a CSV column's values that may be something else than numbers.
        quarantine: Takes the rows that cannot be told apart or decoded.
        scratch: For copies of files that are not here, or packed.

    Raises:
        DataError: a file is missing or damaged as a whole, or a column's name or type cannot be used.
    """
    forms = curated_forms(schema)
    files = _local_files(source, scratch)
    if source.format == "csv":
        return _open_csv(connection, files, forms, tolerated, quarantine, scratch)
    rows = _open_typed(connection, source, files, quarantine)
    check_names(list(rows.types), source.uri)
    conversions = [convert(column, kind, forms.get(column)) for column, kind in rows.types.items()]
    return TypedRows(rows, conversions, frozenset(each.column for each in conversions if each.valid))


def _open_csv(
    connection: duckdb.DuckDBPyConnection,
    files: dict[str, Path],
    forms: dict[str, Form],
    tolerated: float,
    quarantine: Quarantine,
    scratch: Path,
) -> TypedRows:
    """DuckDB's own reading where all rows are sound, else the careful way."""
    import duckdb

    from slipway.examples.csv_files import csv_rows, has_rejects
    from slipway.examples.csv_repair import repair

    rows = csv_rows(files)
    curated = {column: form for column, form in forms.items() if column in rows.types}
    try:
        decided, misfits = infer_forms(connection, rows, curated, tolerated)
        sound = not has_rejects(connection) and not any(misfits.values())
    except duckdb.InvalidInputException:
        sound = False
    if not sound:
        rows = repair(files, scratch / "clean.csv", quarantine)
        decided, misfits = infer_forms(connection, rows, curated, tolerated)
    conversions = [convert(column, "VARCHAR", decided[column]) for column in rows.types]
    return TypedRows(rows, conversions, frozenset(column for column, count in misfits.items() if count))


def _open_typed(
    connection: duckdb.DuckDBPyConnection, source: Source, files: dict[str, Path], quarantine: Quarantine
) -> RawRows:
    """Formats whose columns have types."""
    if source.format == "parquet":
        from slipway.examples.parquet_files import parquet_rows

        return parquet_rows(connection, files)
    if source.format == "avro":
        from slipway.examples.avro_files import avro_batches, avro_schema

        schema = avro_schema(files)
        return _from_batches(connection, schema, avro_batches(files, schema))
    if source.format == "tfrecord":
        from slipway.examples.tfrecord_files import ExampleFiles

        records = ExampleFiles(files, quarantine)
        schema = records.schema()
        return _from_batches(connection, schema, records.batches(schema))
    from slipway.examples.warehouse import warehouse_rows

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
        raise DataError(f"{name}: the gzip file is damaged or cut: {error}") from error
