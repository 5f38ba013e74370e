"""Avro files as rows, through fastavro."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from slipway.data.examples.rows import FILE, LINE, Opening, RawRows
from slipway.errors import DataError

BATCH_ROWS = 16_384
_TYPES = {
    "null": pa.null(), "boolean": pa.bool_(), "int": pa.int64(), "long": pa.int64(), "float": pa.float64(),
    "double": pa.float64(), "bytes": pa.binary(), "string": pa.string(), "enum": pa.string(), "fixed": pa.binary(),
}  # fmt: skip


def avro_rows(opening: Opening) -> RawRows:
    """The records of all files; columns are matched by name."""
    import fastavro

    schemas = []
    for name, path in opening.files.items():
        with path.open("rb") as file:
            try:
                schema: Any = fastavro.reader(file).writer_schema
            except Exception as error:  # fastavro raises whatever the damage leads to
                raise DataError(f"{name}: not an Avro file ({path.stat().st_size:,} bytes): {error}") from error
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise DataError(f"{name}: the records are not of one record type")
        types = {}
        for field in schema["fields"]:
            types[field["name"]] = _arrow_type(field["type"])
            if types[field["name"]] is None:
                raise DataError(f"{name}: column {field['name']!r} is {field['type']}, which examples cannot hold")
        schemas.append(pa.schema(types))
    try:
        columns = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise DataError(f"{opening.source.uri}: the files' columns do not fit together: {error}") from error
    columns = columns.append(pa.field(FILE, pa.string())).append(pa.field(LINE, pa.int64()))
    return opening.rows_of(columns, _batches(opening.files, columns))


def _batches(files: dict[str, Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All records; if a file is damaged or was cut, the error has the record's number."""
    import fastavro

    for name, path in files.items():
        read = 0
        with path.open("rb") as file:
            records = enumerate(fastavro.reader(file), 1)
            while True:
                try:
                    rows = [{**record, FILE: name, LINE: line} for line, record in islice(records, BATCH_ROWS)]
                    batch = pa.RecordBatch.from_pylist(rows, schema)
                except Exception as error:  # fastavro raises whatever the damage leads to
                    said = str(error) or type(error).__name__
                    raise DataError(f"{name}: damaged or cut after about {read:,} records: {said}") from error
                if not rows:
                    break
                read += len(rows)
                yield batch


def _arrow_type(avro: Any) -> pa.DataType | None:
    """The Arrow type of an Avro type; None where there is none."""
    if isinstance(avro, list):
        kinds = [kind for kind in avro if kind != "null"] or ["null"]
        return _arrow_type(kinds[0]) if len(kinds) == 1 else None
    if isinstance(avro, str):
        return _TYPES.get(avro)
    logical = avro.get("logicalType", "").removeprefix("local-")  # a time without a zone is UTC
    if logical.startswith("timestamp-"):
        return pa.timestamp("us", tz="UTC")
    if logical == "date":
        return pa.date32()
    if logical == "decimal":
        return pa.decimal128(avro["precision"], avro.get("scale", 0))
    if logical:
        return None
    if avro["type"] == "array":
        item = _arrow_type(avro["items"])
        return None if item is None else pa.list_(item)
    return _arrow_type(avro["type"])
