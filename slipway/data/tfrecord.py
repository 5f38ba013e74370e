"""TFRecord files, without TensorFlow.

The framing (length, masked CRC-32C of it, record, masked CRC-32C of that) is that of TensorFlow's
`core/lib/io/record_writer.h`.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from slipway.errors import DataError

_MASK_DELTA = 0xA282EAD8


def read_records(path: Path) -> list[bytes]:
    """All records of a file.

    Raises:
        DataError: a record is damaged or cut.
    """
    records = []
    for number, record, problem in scan_records(path, str(path)):
        if problem:
            raise DataError(f"{path}: record {number}: {problem}")
        records.append(record)
    return records


def scan_records(path: Path, name: str) -> Iterator[tuple[int, bytes, str]]:
    """Number, content and problem of each record.

    Raises:
        DataError: a length is damaged, so that the next record cannot be found.
    """
    number = 0
    try:
        with _open(path) as file:
            while head := file.read(12):
                number += 1
                record, problem = _record(file, head)
                if problem and record is None:
                    raise DataError(f"{name}: record {number}: {problem}; what follows it cannot be read")
                yield number, record or b"", problem
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name}: the gzip file is damaged or cut: {error}; fetch it again, or drop .gz if it is not packed"
        ) from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _record(file: IO[bytes], head: bytes) -> tuple[bytes | None, str]:
    """A record and its problem; None if the next record cannot be found."""
    if len(head) < 12:
        return b"", "the file ends in this record"
    length, length_crc = struct.unpack("<QI", head)
    if _masked_crc(head[:8]) != length_crc:
        return None, "its length is damaged (CRC-32C)"
    body = file.read(length + 4)
    if len(body) < length + 4:
        return b"", "the file ends in this record"
    record = body[:length]
    if _masked_crc(record) != struct.unpack("<I", body[length:])[0]:
        return record, "its content is damaged (CRC-32C)"
    return record, ""


def _masked_crc(content: bytes) -> int:
    import google_crc32c

    crc: int = google_crc32c.value(content)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
