"""Opens a source of any format as rows with decided types."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from slipway.data.database import connect, identifier, literal
from slipway.data.examples.avro_files import avro_rows
from slipway.data.examples.bigquery import bigquery_rows
from slipway.data.examples.bigquery_join import fits, with_joins
from slipway.data.examples.column_types import (
    CSV_TEXT,
    Conversion,
    Form,
    convert,
    curated_forms,
    find_codes,
    infer_forms,
)
from slipway.data.examples.csv_files import csv_rows, repaired_csv_rows
from slipway.data.examples.dataset import QUARANTINE
from slipway.data.examples.idx_files import idx_rows
from slipway.data.examples.partitions import find_partitions, partition_forms, with_partitions
from slipway.data.examples.rows import (
    BATCH,
    FILE,
    Opening,
    Quarantine,
    RawRows,
    UnsoundRowsError,
    check_names,
    check_reserved,
    describe,
    file_of,
)
from slipway.data.examples.source import Format, JoinedSource, Source, locate
from slipway.data.examples.tfrecord_files import tfrecord_rows
from slipway.data.examples.typed_rows import TypedRows
from slipway.data.examples.view_join import in_table, join_views
from slipway.data.examples.view_rows import open_view, write_view
from slipway.data.tensors import curated_shapes
from slipway.errors import DataError, UnusableColumnsError
from slipway.module_api import Ingestion
from slipway.stores import storage
from slipway.strict_yaml import did_you_mean

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

ROWS_MEMORY = "200MB"
MEMORY_LIMIT = "400MB"
WIDE = 500  # columns: beyond, each thread would hold so much that one reads, and for every `WIDE` it may have 200 MB
THREADS = min(os.cpu_count() or 1, 4)
ROW_NUMBER = "file_row_number"
HEADER_BYTES = 1 << 20
MOST_REMOTE_HEADERS = 20  # each takes two requests
BAD = "__slipway_bad"
_MAY_BE_NUMBER = re.compile(rf"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*|{CSV_TEXT}")


def _parquet_rows(opening: Opening) -> RawRows:
    """Rows of Parquet files; DuckDB reads them, and matches columns by name."""
    listed = ", ".join(literal(str(path)) for path in opening.files.values())
    options = f"union_by_name = true, hive_partitioning = false, filename = '{FILE}'"
    own_number = False
    for name, path in opening.files.items():
        try:
            found = opening.connection.execute(f"SELECT name FROM parquet_schema({literal(str(path))})")  # noqa: S608
            names = [column for (column,) in found.fetchall()]
        except duckdb.Error as error:
            said, size = str(error).partition("\n")[0], path.stat().st_size
            raise DataError(f"{name}: not a whole Parquet file ({size:,} bytes); fetch it again: {said}") from error
        check_reserved(names, name)
        own_number |= ROW_NUMBER in map(str.lower, names)
    # DuckDB does not number the rows of files that have a column of this name.
    relation = f"read_parquet([{listed}], {options}{'' if own_number else f', {ROW_NUMBER} = true'})"
    try:
        types = describe(opening.connection, relation)
    except duckdb.Error as error:
        said = str(error).partition("\n")[0]
        raise DataError(f"{opening.source.uri}: the files' columns do not fit together: {said}") from error
    if not own_number:
        del types[ROW_NUMBER]
    return RawRows(relation, types, (file_of(opening), "NULL" if own_number else f"{ROW_NUMBER} + 1"))


# Formats whose columns have types. A reader loads its library when it is called, and raises DataError where a file is
# damaged as a whole, or columns do not fit together.
READERS: dict[Format, Callable[[Opening], RawRows]] = {
    "parquet": _parquet_rows,
    "tfrecord": tfrecord_rows,
    "avro": avro_rows,
    "idx": idx_rows,
    "bigquery": bigquery_rows,
}


def open_source(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    schema: schema_pb2.Schema | None,
    ingestion: Ingestion,
    quarantine: Quarantine,
    scratch: Path,
    *,
    careful: bool,
) -> TypedRows:
    """The rows of a source with their shared features; a schema decides the types of its features.

    `scratch` takes copies of remote and packed files. With `careful` CSV files are read line by line and every value is
    checked: slower, for files with bad rows.

    Raises:
        DataError: a file is missing or damaged as a whole, a column's name or type cannot be used, or a feature cannot
            be joined.
        UnsoundRowsError: the CSV files have to be read carefully.
    """
    in_bigquery = bool(source.features) and fits(source)
    rows = with_joins(source) if in_bigquery else source
    typed = _open_rows(connection, rows, schema, ingestion, quarantine, scratch, careful=careful)
    if in_bigquery:
        return replace(typed, joined=tuple(name for one in source.features for name in one.join.columns.values()))
    if not source.features:
        return typed
    views = [
        (one.join, read_view_rows(one, scratch / f"view-{number}")[0]) for number, one in enumerate(source.features)
    ]
    return join_views(connection, typed, views, curated_forms(schema), source.uri)


def read_view_rows(joined: JoinedSource, scratch: Path) -> tuple[Path, dict[str, str]]:
    """The rows of a shared feature view, as `write_view` writes them, and the types of all columns of its SELECT.

    They are computed from its data, in a database of their own.

    Raises:
        DataError: the data cannot be read, or not every row of them, or the view is not right.
    """
    scratch.mkdir()
    quarantine = Quarantine(scratch / QUARANTINE)
    # Text files hold times, too; what `data` is to a SELECT has a type.
    ingestion = joined.join.ingestion.model_copy(update={"times": "seconds"})
    with closing(quarantine), connect(f"{scratch}/duckdb", memory_limit=MEMORY_LIMIT, threads=THREADS) as connection:
        try:
            typed = _open_rows(connection, joined.source, None, ingestion, quarantine, scratch, careful=True)
            typed = in_table(connection, typed)
            _refuse_bad(connection, typed, quarantine, joined.source.uri)
            types = open_view(connection, typed, joined, scratch)
            return write_view(connection, joined.join, types, scratch), types
        except (DataError, duckdb.Error) as error:
            raise DataError(f"features/{joined.join.view}.sql: {error}") from error


def _refuse_bad(connection: duckdb.DuckDBPyConnection, typed: TypedRows, quarantine: Quarantine, uri: str) -> None:
    """Refuses data with a row that cannot be read."""
    _refuse_quarantined(quarantine)
    failing = [each.reason for each in typed.conversions if each.column in typed.can_fail]
    if failing:
        file, line = typed.rows.place
        bad = f"SELECT {file}, {line}, concat_ws('; ', {', '.join(failing)}) AS {BAD} FROM {typed.rows.relation}"  # noqa: S608
        for place, row, reason in connection.execute(f"FROM ({bad}) WHERE {BAD} <> '' LIMIT 1").fetchall():
            raise DataError(f"{place or uri}:{row}: {reason}; correct the row")


def _refuse_quarantined(quarantine: Quarantine) -> None:
    quarantine.close()
    if quarantine.count:
        with quarantine.path.open(encoding="utf-8") as file:
            first = json.loads(file.readline())
        raise DataError(f"{first['file']}:{first['line']}: {first['reason']}; correct the row")


def _open_rows(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    schema: schema_pb2.Schema | None,
    ingestion: Ingestion,
    quarantine: Quarantine,
    scratch: Path,
    *,
    careful: bool,
) -> TypedRows:
    """The source's own rows; arguments and errors are those of `open_source`."""
    partitions = find_partitions(source)
    opening = Opening(connection, source, _local_files(source, scratch), quarantine, frozenset(ingestion.ignore))
    if source.format != "csv":
        rows = READERS[source.format](opening)
        check_names(list(rows.types), source.uri)
    elif careful:
        rows = repaired_csv_rows(opening, scratch / "clean.csv", ingestion.delimiter)
    else:
        rows = csv_rows(opening, ingestion.delimiter, with_file=bool(partitions))
    if len(rows.types) > WIDE:
        connection.execute("SET threads = 1")
        connection.execute(f"SET memory_limit = '{200 * (len(rows.types) // WIDE + 2)}MB'")
    if source.format != "csv":
        return type_rows(connection, source, rows, schema, ingestion)
    rows = _marked(source, rows, ingestion)
    forms = {column: form for column, form in curated_forms(schema).items() if column in rows.types}
    try:
        forms, failing = infer_forms(connection, rows, forms, ingestion, check=careful)
    except duckdb.Error as error:
        if careful:
            raise
        raise UnsoundRowsError from error
    conversions = _conversions(connection, rows, forms, ingestion)
    can_fail = failing if careful else {each.column for each in conversions if each.valid}
    return TypedRows(rows, conversions, frozenset(can_fail), trusted=not careful)


def type_rows(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    rows: RawRows,
    schema: schema_pb2.Schema | None,
    ingestion: Ingestion,
    only: Collection[str] | None = None,
) -> TypedRows:
    """Rows of a source whose columns have types, with what the names of its folders hold; `only` these are converted.

    Raises:
        DataError: a column's name or type cannot be used.
    """
    rows = _marked(source, rows, ingestion)
    forms = partition_forms(connection, rows, find_partitions(source), ingestion) | curated_forms(schema)
    conversions = _conversions(connection, rows, forms, ingestion, curated_shapes(schema), only)
    return TypedRows(rows, conversions, frozenset(each.column for each in conversions if each.valid))


def _marked(source: Source, rows: RawRows, ingestion: Ingestion) -> RawRows:
    """The rows with the columns of folders, without those that are ignored; marks of missing values are null."""
    rows = with_partitions(rows, find_partitions(source), rows.place[0])
    return _with_missing(_without_ignored(rows, ingestion, source), ingestion.missing_values)


def read_names(source: Source, ingestion: Ingestion) -> list[str]:
    """The columns of files, `ingestion.ignore` included; none where their headers do not tell them.

    Of remote files only the headers are fetched, and none where there are more than `MOST_REMOTE_HEADERS`.

    Raises:
        DataError: a file cannot be read.
        StoreError: a remote file cannot be read.
    """
    kind = source.format
    # Records say one by one which features they have; images have no names; a warehouse would have to be asked.
    if kind in ("tfrecord", "idx", "bigquery"):
        return []
    if sum(storage.is_remote(file.uri) for file in source.files) > MOST_REMOTE_HEADERS:
        return []
    with TemporaryDirectory() as folder, connect(folder, memory_limit="100MB", threads=1) as connection:
        scratch = Path(folder)
        quarantine, ignore = Quarantine(scratch / "quarantine"), frozenset(ingestion.ignore)
        opening = Opening(connection, source, _local_files(source, scratch, headers=True), quarantine, ignore)
        rows = csv_rows(opening, ingestion.delimiter) if kind == "csv" else READERS[kind](opening)
        return list(with_partitions(rows, find_partitions(source), rows.place[0]).types)


def read_rows(
    uri: str, ingestion: Ingestion, count: int | None = None, schema: schema_pb2.Schema | None = None
) -> pa.Table:
    """The rows of a data URI, or the first ones, as examples but without label and split.

    Raises:
        DataError: as of `open_source`; or a row cannot be parsed.
    """
    with (
        TemporaryDirectory(prefix="slipway-rows-") as scratch,
        connect(scratch, memory_limit=ROWS_MEMORY, threads=1) as connection,
    ):
        quarantine = Quarantine(Path(scratch) / QUARANTINE)
        source = locate(uri, ingestion.window)
        typed = open_source(connection, source, schema, ingestion, quarantine, Path(scratch), careful=True)
        for batch in islice(typed.rows.batches or (), 1):
            connection.register(BATCH, pa.Table.from_batches([batch]))
        values = ", ".join(f"{each.value} AS {identifier(each.column)}" for each in typed.conversions)
        failing = [each.reason for each in typed.conversions if each.column in typed.can_fail]
        bad = f"nullif(concat_ws('; ', {', '.join(failing)}), '')" if failing else "NULL"
        most = "" if count is None else f" LIMIT {count}"
        table = connection.sql(f"SELECT {values}, {bad} AS {BAD} FROM {typed.rows.relation}{most}").to_arrow_table()  # noqa: S608
        _refuse_quarantined(quarantine)
        for row, reason in enumerate(table[BAD].to_pylist(), start=1):
            if reason is not None:
                raise DataError(f"{uri}: row {row}: {reason}; correct it")
        return table.drop_columns([BAD])


def _without_ignored(rows: RawRows, ingestion: Ingestion, source: Source) -> RawRows:
    """The rows without the columns that `ingestion.ignore` names; a name that is none of theirs is an error."""
    for name in ingestion.ignore:
        if name not in rows.types:
            hint = did_you_mean(name, list(rows.types))
            raise DataError(
                f"ingestion.ignore of module.yaml names {name!r}, but {source.uri} has no such column{hint}"
            )
    return replace(rows, types={name: kind for name, kind in rows.types.items() if name not in ingestion.ignore})


def _with_missing(rows: RawRows, marks: Sequence[str]) -> RawRows:
    """The rows with null in the place of each mark of a missing value; the mark -1 is also the number -1.0."""
    numbers = [mark for mark in marks if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", mark)]
    is_text = f"list_contains([{', '.join(map(literal, marks))}]::VARCHAR[], trim({{0}}))"
    is_number = f"list_contains([{', '.join(numbers)}]::DOUBLE[], TRY_CAST({{0}} AS DOUBLE))"
    known = []
    for column, kind in rows.types.items():
        is_mark = [is_text] if kind in (CSV_TEXT, "VARCHAR") else []
        is_mark += [is_number] if numbers and _MAY_BE_NUMBER.fullmatch(kind) else []
        if is_mark:
            name = identifier(column)
            condition = " OR ".join(f"coalesce({one.format(name)}, false)" for one in is_mark)
            known.append(f"CASE WHEN NOT ({condition}) THEN {name} END AS {name}")
    if not marks or not known:
        return rows
    return replace(rows, relation=f"(SELECT * REPLACE ({', '.join(known)}) FROM {rows.relation})")  # noqa: S608


def _conversions(
    connection: duckdb.DuckDBPyConnection,
    rows: RawRows,
    forms: Mapping[str, Form],
    ingestion: Ingestion,
    images: Collection[str] = (),
    only: Collection[str] | None = None,
) -> list[Conversion]:
    """The conversion of each column; UnusableColumnsError names all that have none."""
    codes, found, unusable = find_codes(connection, rows), list[Conversion](), dict[str, str]()
    for column, kind in rows.types.items():
        if only is not None and column not in only:
            continue
        try:
            form, is_image = forms.get(column), column in images
            found.append(convert(column, kind, form, ingestion, codes=column in codes, is_image=is_image))
        except UnusableColumnsError as error:
            unusable |= error.columns
    if unusable:
        raise UnusableColumnsError(unusable)
    return found


def _local_files(source: Source, scratch: Path, *, headers: bool = False) -> dict[str, Path]:
    """Name to show and path of each file: remote ones are fetched, packed CSV is unpacked (DuckDB checks no CRC).

    For `headers` alone, only as much is fetched and unpacked as they may take.
    """
    files: dict[str, Path] = {}
    for number, file in enumerate(source.files):
        remote, suffix = storage.is_remote(file.uri), "".join(Path(file.uri.partition("?")[0]).suffixes[-2:])
        path = scratch / f"{number:05d}{suffix}" if remote else storage.local_path(file.uri)
        if remote and headers:
            _copy_header(file.uri, path, source.format)
        elif not storage.exists(file.uri):
            raise DataError(f"{file.uri}: the file was there when the source was resolved, and is gone now")
        elif remote:
            storage.copy(file.uri, str(path))
        if source.format == "csv" and suffix.lower().endswith(".gz"):
            packed, path = path, scratch / f"{number:05d}.csv"
            try:
                with gzip.open(packed) as reader, path.open("wb") as writer:
                    if headers:
                        writer.write(reader.read(HEADER_BYTES))
                    else:
                        shutil.copyfileobj(reader, writer, storage.BLOCK_BYTES)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(f"{file.uri}: the gzip file is damaged or cut: {error}; fetch it again") from error
        if path in files.values():  # two files of a snapshot with the same bytes
            twin = scratch / f"{number:05d}-{path.name}"
            twin.symlink_to(path)
            path = twin
        files[source.shown(file)] = path
    return files


def _copy_header(uri: str, path: Path, kind: Format) -> None:
    """Copies the part of a file that tells its columns; of Parquet a file of the same columns, without rows."""
    with storage.open_read(uri) as file:
        if kind == "parquet":
            pq.write_table(pq.read_schema(file).empty_table(), path)
        else:
            path.write_bytes(file.read(HEADER_BYTES))
