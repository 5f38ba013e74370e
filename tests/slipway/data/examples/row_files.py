"""Writes rows as CSV, Parquet, Avro and TFRecord."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
    path.write_text("\n".join([",".join(rows[0]), *lines]) + "\n", encoding="utf-8")


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_avro(path: Path, rows: list[dict[str, Any]]) -> None:
    kinds = {int: "long", float: "double", str: "string"}
    values = {name: value for row in reversed(rows) for name, value in row.items() if value is not None}
    fields = [{"name": name, "type": ["null", kinds[type(value)]]} for name, value in values.items()]
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema({"type": "record", "name": "row", "fields": fields}), rows)


def write_tfrecord(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(map(frame, map(example, rows))))


def example(row: dict[str, Any]) -> bytes:
    """A serialized tf.Example, by hand: no need for TensorFlow."""
    return _field(1, b"".join(_field(1, _field(1, name.encode()) + _field(2, _feature(value)))
                              for name, value in row.items() if value is not None))  # fmt: skip


def _feature(value: Any) -> bytes:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], int):
        return _field(3, b"".join(b"\x08" + _varint(each) for each in values))
    if isinstance(values[0], float):
        return _field(2, b"".join(b"\x0d" + struct.pack("<f", each) for each in values))
    return _field(1, b"".join(_field(1, each if isinstance(each, bytes) else each.encode()) for each in values))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def frame(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + _crc(length) + record + _crc(record)


def _crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    ".csv": write_csv, ".parquet": write_parquet, ".avro": write_avro, ".tfrecord": write_tfrecord,
}  # fmt: skip
