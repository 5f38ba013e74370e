"""Decodes columns of PNG, JPEG and other files, where the schema says that the feature is an image of whole numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from slipway.data.examples.query import REASON
from slipway.data.images import Shape, decode_image, is_image
from slipway.errors import DataError


def decode_images(rows: pa.RecordBatch, shapes: Mapping[str, Shape]) -> pa.RecordBatch:
    """The rows with pixels in the place of files; one that cannot be decoded gets a reason to go to quarantine."""
    for name, shape in shapes.items():
        if name in rows.schema.names and pa.types.is_binary(rows.column(name).type) and is_image(shape):
            rows = _decode_column(rows, name, shape)
    return rows


def _decode_column(rows: pa.RecordBatch, name: str, shape: Shape) -> pa.RecordBatch:
    decoded, reasons = [], rows.column(REASON).to_pylist()
    for index, content in enumerate(rows.column(name).to_pylist()):
        try:
            decoded.append(None if content is None else decode_image(content, shape))
        except DataError as error:
            decoded.append(None)
            reasons[index] = f"{name}: {error}"
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    columns |= {name: pa.array(decoded, pa.list_(pa.uint8())), REASON: pa.array(reasons, pa.string())}
    return pa.RecordBatch.from_pydict(columns)
