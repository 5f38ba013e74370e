"""Avro files as rows, through fastavro."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any
from uuid import UUID

import pyarrow as pa

from slipway.data.examples.rows import FILE, LINE, Opening, RawRows, check_reserved
from slipway.errors import DataError, UnusableColumnsError

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
        named: dict[str, pa.DataType | None] = {}
        kinds = {field["name"]: _arrow_type(field["type"], named) for field in schema["fields"]}
        kinds |= {column: pa.null() for column in kinds if column in opening.ignore}
        check_reserved(kinds, name)
        unusable = {field["name"]: field["type"] for field in schema["fields"] if kinds.get(field["name"], 1) is None}
        if unusable:
            raise UnusableColumnsError({column: json.dumps(kind, default=str) for column, kind in unusable.items()})
        schemas.append(pa.schema(kinds))
    try:
        columns = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise DataError(f"{opening.source.uri}: the files' columns do not fit together: {error}") from error
    columns = columns.append(pa.field(FILE, pa.string())).append(pa.field(LINE, pa.int64()))
    return opening.rows_of(columns, _batches(opening, columns))


def _batches(opening: Opening, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All records; if a file is damaged or was cut, the error has the record's number."""
    import fastavro

    kept = set(schema.names) - opening.ignore
    for name, path in opening.files.items():
        read = 0
        with path.open("rb") as file:
            records = enumerate(fastavro.reader(file), 1)
            while True:
                try:
                    rows = [
                        {column: _plain(value) for column, value in record.items() if column in kept}
                        | {FILE: name, LINE: line}
                        for line, record in islice(records, BATCH_ROWS)
                    ]
                    batch = pa.RecordBatch.from_pylist(rows, schema)
                except Exception as error:  # fastavro raises whatever the damage leads to
                    said = str(error) or type(error).__name__
                    raise DataError(f"{name}: damaged or cut after about {read:,} records: {said}") from error
                if not rows:
                    break
                read += len(rows)
                yield batch


def _plain(value: Any) -> Any:
    """The value as Arrow takes it: a UUID is text."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, UUID) else value


def _arrow_type(avro: Any, named: dict[str, Any]) -> pa.DataType | None:
    """The Arrow type of an Avro type; None where there is none.

    `named` collects the named types, which may be used again by name. A logical type that Avro's specification does not
    know, or that is not valid, is ignored, and the underlying type used.
    """
    if isinstance(avro, list):
        kinds = [_arrow_type(kind, named) for kind in avro if kind != "null"] or [pa.null()]
        if any(kind is None for kind in kinds):
            return None
        try:
            return pa.unify_schemas([pa.schema({"x": kind}) for kind in kinds], promote_options="permissive").types[0]
        except pa.ArrowTypeError:
            return None
    if isinstance(avro, str):
        return _TYPES.get(avro) or named.get(avro.rpartition(".")[2])
    kind, logical = avro["type"], avro.get("logicalType", "").removeprefix("local-")  # a time without a zone is UTC
    found = _logical_type(kind, logical, avro)
    if found is None and kind == "array":
        item = _arrow_type(avro["items"], named)
        found = None if item is None else pa.list_(item)
    elif found is None and kind == "record":
        for field in avro["fields"]:
            _arrow_type(field["type"], named)
    elif found is None:
        found = _arrow_type(kind, named)
    if "name" in avro:
        named[avro["name"].rpartition(".")[2]] = found
    return found


def _logical_type(kind: Any, logical: str, avro: dict[str, Any]) -> pa.DataType | None:
    """The Arrow type of what fastavro makes of a logical type; None where it leaves the underlying type."""
    if kind == "long" and logical in ("timestamp-millis", "timestamp-micros"):
        return pa.timestamp("us", tz="UTC")
    if (kind, logical) == ("long", "timestamp-nanos"):  # which fastavro leaves whole numbers
        return pa.timestamp("ns", tz="UTC")
    if kind == "int" and logical == "date":
        return pa.date32()
    if (kind, logical) in (("int", "time-millis"), ("long", "time-micros")):
        return pa.time64("us")
    if kind == "string" and logical == "uuid":
        return pa.string()
    if kind in ("bytes", "fixed") and logical == "decimal":
        return pa.decimal128(avro["precision"], avro.get("scale", 0))
    return None
