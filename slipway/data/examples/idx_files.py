"""MNIST's idx files as rows: `image`, one feature of a fixed shape, and `label`, if there is a file of labels.

The format is that of http://yann.lecun.com/exdb/mnist: two zero bytes, the type of the values, the number of
dimensions, the size of each as 32 bits, and the values, all with the highest byte first.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from io import BufferedReader
from math import prod
from pathlib import Path

import numpy as np
import pyarrow as pa

from slipway.data.examples.rows import FILE, LINE, Opening, RawRows
from slipway.data.images import Shape, is_image
from slipway.errors import DataError

IMAGE, LABEL = "image", "label"
BATCH_BYTES = 4 << 20
Stream = gzip.GzipFile | BufferedReader
File = tuple[str, Path]  # the name to show, and where it is
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class _Header:
    values: np.dtype[np.generic]
    shape: Shape  # the number of items first


def idx_rows(opening: Opening) -> RawRows:
    """The images of all files with their labels; a file of images is followed by that of its labels, if it has any."""
    pairs = _pairs(list(opening.files.items()))
    found = [_check_pair(images, labels) for images, labels in pairs]
    first, (name, _) = found[0], pairs[0][0]
    for (other, _), header in zip([images for images, _ in pairs], found, strict=True):
        if (header.values, header.shape[1:]) != (first.values, first.shape[1:]):
            raise DataError(f"{other} holds images of {_said(header)}, and {name} of {_said(first)}")
    kind = pa.from_numpy_dtype(first.values.newbyteorder("="))
    label = [(LABEL, pa.int64())] if pairs[0][1] else []
    schema = pa.schema([(IMAGE, pa.list_(kind)), *label, (FILE, pa.string()), (LINE, pa.int64())])

    def batches() -> Iterator[pa.RecordBatch]:
        for (images, labels), header in zip(pairs, found, strict=True):
            yield from _batches(images, labels and labels[1], header, schema)

    shape = first.shape[1:] if len(first.shape) > 3 else (*first.shape[1:], 1)
    return replace(opening.rows_of(schema, batches()), shapes={IMAGE: shape})


def _pairs(files: list[File]) -> list[tuple[File, File | None]]:
    """Each file of images with that of its labels, if all have one."""
    pairs: list[tuple[File, File | None]] = []
    for file in files:
        if "images" in file[0].partition("?")[0].rpartition("/")[2]:
            pairs.append((file, None))
        else:
            pairs[-1] = pairs[-1][0], file
    without = [images[0] for images, labels in pairs if labels is None]
    if 0 < len(without) < len(pairs):
        raise DataError(f"{', '.join(without)}: its labels are not beside it, as those of the other files are")
    return pairs


def _batches(images: File, labels: Path | None, header: _Header, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    name, path = images
    size, width, read = _item_bytes(header), prod(header.shape[1:]), 0
    rows = max(1, BATCH_BYTES // size)
    with _open(path, name) as stream, _open(labels, str(labels)) if labels else nullcontext() as label_stream:
        _read_header(stream, name)
        kind = _read_header(label_stream, str(labels)).values if label_stream else None
        while read < header.shape[0]:
            count = min(rows, header.shape[0] - read)
            values = np.frombuffer(stream.read(count * size), header.values)
            given = []
            if label_stream and kind:
                its = np.frombuffer(label_stream.read(count * kind.itemsize), kind)
                given = [pa.array(its.astype(np.int64))]
            ends = pa.array(np.arange(count + 1, dtype=np.int32) * width)
            lists = pa.ListArray.from_arrays(ends, pa.array(values.astype(values.dtype.newbyteorder("="))))
            places = [pa.array([name] * count, pa.string()), pa.array(range(read + 1, read + count + 1), pa.int64())]
            yield pa.RecordBatch.from_arrays([lists, *given, *places], schema=schema)
            read += count


def _check_pair(images: File, labels: File | None) -> _Header:
    """The header of the images, after both files were read to their ends."""
    headers = []
    for name, path in filter(None, (images, labels)):
        with _open(path, name) as stream:
            header = _read_header(stream, name)
            wanted, found = header.shape[0] * _item_bytes(header), 0
            while block := stream.read(1 << 20):
                found += len(block)
        if found != wanted:
            raise DataError(
                f"{name}: its header tells of {wanted:,} bytes of values, but {found:,} follow; fetch it again"
            )
        headers.append(header)
    if not is_image(headers[0].shape[1:]):
        raise DataError(f"{images[0]} holds {_said(headers[0])}, not images: height, width and perhaps channels")
    if labels is None:
        return headers[0]
    if len(headers[1].shape) != 1 or headers[1].values.kind not in "ui":
        raise DataError(f"{labels[0]} holds {_said(headers[1])} for each image, not one whole number")
    if headers[0].shape[0] != headers[1].shape[0]:
        raise DataError(
            f"{images[0]} has {headers[0].shape[0]:,} images, but {labels[0]} {headers[1].shape[0]:,} labels"
        )
    return headers[0]


def _read_header(stream: Stream, name: str) -> _Header:
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or not start[3]:
        raise DataError(f"{name}: not an idx file: it begins with the bytes {start.hex(' ') or '(none)'}")
    sizes = stream.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise DataError(f"{name}: the idx file ends within its header; fetch it again")
    return _Header(np.dtype(_TYPES[start[2]]), struct.unpack(f">{start[3]}I", sizes))


def _item_bytes(header: _Header) -> int:
    return prod(header.shape[1:]) * header.values.itemsize


def _said(header: _Header) -> str:
    return f"{' x '.join(map(str, header.shape[1:])) or '1'} {header.values.name}"


@contextmanager
def _open(path: Path, name: str) -> Iterator[Stream]:
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: the gzip file is damaged or cut: {error}; fetch it again") from error
