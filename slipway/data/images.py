"""Images: values of a fixed shape, such as [28, 28, 1], which are one feature; and pictures of them for pages.

In the examples an image is a list of its values, row by row, in a column whose field says the shape. The list may be
too long or too short, for validation to see.
"""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from slipway.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]

MOST_LABELS = 20  # whose mean images are drawn

_FIELD = b"shape"  # as in the metadata of Arrow's own type for tensors of a fixed shape
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # Pillow gives others, like EPS, to programs that it starts
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's names, by number of channels


def is_image(shape: Sequence[int]) -> bool:
    """Whether values of this shape can be drawn: height, width and one, three or four channels, or no channels."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in _MODES)


def with_shapes(schema: pa.Schema, shapes: Mapping[str, Shape]) -> pa.Schema:
    """The schema of a table of examples, in which each of these columns has its shape."""
    fields = [
        each.with_metadata({_FIELD: json.dumps(shapes[each.name])}) if each.name in shapes else each for each in schema
    ]
    return pa.schema(fields, schema.metadata)


def shapes_in(schema: pa.Schema) -> dict[str, Shape]:
    """The columns to which `with_shapes` gave a shape."""
    described = ((each.name, (each.metadata or {}).get(_FIELD)) for each in schema)
    return {name: tuple(json.loads(shape)) for name, shape in described if shape}


def encode_png(values: NDArray[Any], shape: Sequence[int], low: float, high: float) -> bytes:
    """An image as PNG, where `low` is black and `high` is white; what is not a number is black."""
    from PIL import Image

    scaled = (np.nan_to_num(values.astype(np.float64), nan=low) - low) * (255 / ((high - low) or 1))
    pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8).reshape(shape)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def decode_image(content: bytes, shape: Sequence[int]) -> NDArray[np.uint8]:
    """The pixels of a PNG, JPEG or another encoded image, with the channels of the shape.

    Raises:
        DataError: it is no such image, or of another size.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if (image.height, image.width) != tuple(shape[:2]):
                raise DataError(f"an image of {image.height} x {image.width}, not {shape[0]} x {shape[1]}")
            return np.asarray(image.convert(_MODES[shape[2] if len(shape) == 3 else 1]), np.uint8).reshape(-1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        start = content[:4].hex(" ")
        raise DataError(f"{len(content):,} bytes ({start} …) that are no whole image file") from error


@dataclass
class MeanImages:
    """Adds images up, by the label of each, so that the mean of every label, and of all, can be drawn."""

    shape: Shape
    sums: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    low: float = np.inf
    high: float = -np.inf

    def add(self, images: pa.Array, labels: pa.Array) -> None:
        """A batch of rows; those whose list has another length are left out."""
        import pyarrow.compute as pc  # slow, and module checks read the columns of idx files without it

        fits = pc.fill_null(pc.equal(pc.list_value_length(images), prod(self.shape)), False)
        values = images.filter(fits).flatten().to_numpy(zero_copy_only=False).reshape(-1, prod(self.shape))
        finite = values[np.isfinite(values)]
        if len(finite):
            self.low, self.high = min(self.low, finite.min()), max(self.high, finite.max())
        names = labels.filter(fits).cast(pa.string()).fill_null("").dictionary_encode()
        codes = names.indices.to_numpy()
        for code, name in enumerate(names.dictionary.to_pylist()):
            chosen = np.nan_to_num(values[codes == code].astype(np.float64))
            self.sums[name] = self.sums.get(name, 0) + chosen.sum(axis=0)
            self.counts[name] += len(chosen)

    def pictures(self) -> dict[str, bytes]:
        """PNGs: under the empty name the mean of all, and that of each label, where these are few."""
        if not self.sums:
            return {}
        means = {"": np.sum(list(self.sums.values()), axis=0) / self.counts.total()}
        if len(self.sums) <= MOST_LABELS:
            means |= {name: self.sums[name] / self.counts[name] for name in sorted(self.sums, key=_by_number)}
        return {name: encode_png(mean, self.shape, self.low, self.high) for name, mean in means.items()}


def _by_number(name: str) -> tuple[float, str]:
    return (float(name), "") if name.replace(".", "", 1).isdigit() else (np.inf, name)


def data_uri(png: bytes) -> str:
    """The picture for an HTML page that needs no other file."""
    return f"data:image/png;base64,{b64encode(png).decode()}"
