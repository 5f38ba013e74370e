"""Avro files as rows, through fastavro."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa

from slipway.data.examples.rows import FILE, LINE
from slipway.errors import DataError

BATCH_ROWS = 16_384


def avro_schema(files: dict[str, Path]) -> pa.Schema:
    """The columns of all files together.

    Raises:
        DataError: a file is no Avro file, or a column cannot be held by examples.
    """
    schemas = []
    for name, path in files.items():
        with path.open("rb") as file:
            try:
                schema: Any = fastavro.reader(file).writer_schema
            except Exception as error:  # fastavro raises whatever the damage leads to
                raise DataError(f"{name}: not an Avro file ({path.stat().st_size:,} bytes): {error}") from error
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise DataError(f"{name}: the records are not of one record type")
        schemas.append(pa.schema([(field["name"], _arrow_type(name, field)) for field in schema["fields"]]))
    try:
        columns = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise DataError(f"the Avro files' columns do not fit together: {error}") from error
    return columns.append(pa.field(FILE, pa.string())).append(pa.field(LINE, pa.int64()))


def avro_batches(files: dict[str, Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All records, in batches of that schema.

    Raises:
        DataError: a file is damaged or was cut; the message has the record's number.
    """
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


def _arrow_type(name: str, field: dict[str, Any]) -> pa.DataType:
    found = _type_of(field["type"])
    if found is None:
        raise DataError(f"{name}: column {field['name']!r} is {field['type']}, which examples cannot hold")
    return pa.null() if found == "null" else found


def _type_of(avro: Any) -> Any:
    """The Arrow type of an Avro type; None where there is none."""
    if isinstance(avro, list):
        kinds = [kind for kind in avro if kind != "null"]
        return _type_of(kinds[0]) if len(kinds) == 1 else ("null" if not kinds else None)
    if isinstance(avro, str):
        return {
            "null": pa.null(), "boolean": pa.bool_(), "int": pa.int64(), "long": pa.int64(), "float": pa.float64(),
            "double": pa.float64(), "bytes": pa.binary(), "string": pa.string(),
        }.get(avro)  # fmt: skip
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
        item = _type_of(avro["items"])
        return None if item is None else pa.list_(item)
    return {"enum": pa.string(), "fixed": pa.binary()}.get(avro["type"]) or _type_of(avro["type"])
