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

from slipway.errors import DataError

_GZIP = b"\x1f\x8b\x08"
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
    import google_crc32c

    def masked_crc(content: bytes) -> bytes:
        crc = google_crc32c.value(content)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)

    number = 0
    try:
        with path.open("rb") as start:
            is_packed = start.read(len(_GZIP)) == _GZIP
        with gzip.open(path) if is_packed else path.open("rb") as file:
            while head := file.read(12):
                number += 1
                if len(head) == 12 and masked_crc(head[:8]) != head[8:]:
                    raise DataError(
                        f"{name}: record {number}: its length is damaged (CRC-32C); what follows it cannot be read"
                    )
                length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
                body = file.read(length + 4)
                if len(body) < length + 4:
                    yield number, b"", "the file ends in this record"
                elif masked_crc(body[:length]) != body[length:]:
                    yield number, body[:length], "its content is damaged (CRC-32C)"
                else:
                    yield number, body[:length], ""
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: the gzip file is damaged or cut: {error}; fetch it again") from error
