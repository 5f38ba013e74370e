"""What statistics, schema, validation and page say of a column of images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from PIL import Image

from slipway.data.images import decode_image, encode_png, is_image, with_shapes
from slipway.data.schema import infer_schema
from slipway.data.statistics.compute import compute_statistics
from slipway.data.statistics.describe import image_shape, mean_images
from slipway.data.statistics.page import render_statistics
from slipway.data.tensors import fixed_shape
from slipway.errors import DataError
from slipway.module_api import Label
from tests.example_artifacts import write_examples
from tests.slipway.data.validation.validated import only, validate

SHAPE = (4, 3, 1)
PIXELS = np.random.default_rng(1).integers(0, 200, (30, 12)).astype(np.uint8)
LABELS = np.arange(30) % 3


def columns(images: list[Any] | None = None, shape: tuple[int, ...] = SHAPE) -> Any:
    given = pa.array(PIXELS.tolist() if images is None else images, pa.list_(pa.uint8()))
    table = pa.table({"image": given, "label": LABELS[: len(given)]})
    return table.cast(with_shapes(table.schema, {"image": shape}))


def pixels_of(png: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_statistics_of_images_have_the_shape_the_range_and_the_mean_of_each_label(tmp_path: Path) -> None:
    write_examples(tmp_path, columns())
    feature = compute_statistics(tmp_path).datasets[0].features[0]
    assert image_shape(feature) == SHAPE
    assert (feature.num_stats.min, feature.num_stats.max) == (PIXELS.min(), PIXELS.max())
    assert feature.num_stats.num_zeros == (PIXELS == 0).sum()
    means = mean_images(feature)
    assert list(means) == ["", "0", "1", "2"]
    for name, rows in {"": PIXELS, "1": PIXELS[LABELS == 1]}.items():
        low, high = int(PIXELS.min()), int(PIXELS.max())
        wanted = (rows.mean(axis=0) - low) * 255 / (high - low)
        assert np.abs(pixels_of(means[name]).reshape(-1) - wanted).max() <= 0.5


def test_statistics_leave_images_of_another_length_out_of_the_mean(tmp_path: Path) -> None:
    write_examples(tmp_path, columns([[1] * 12, [1] * 11, None, [3] * 12]))
    feature = compute_statistics(tmp_path).datasets[0].features[0]
    assert set(mean_images(feature)) == {"", "0"}
    assert feature.num_stats.common_stats.num_missing == 1


def test_statistics_draw_no_mean_for_each_of_very_many_labels(tmp_path: Path) -> None:
    table = columns()
    write_examples(tmp_path, table.set_column(1, "label", pa.array(np.arange(30.0))))
    assert set(mean_images(compute_statistics(tmp_path).datasets[0].features[0])) == {""}


def test_an_inferred_schema_has_the_shape(tmp_path: Path) -> None:
    write_examples(tmp_path, columns())
    schema = infer_schema(compute_statistics(tmp_path), Label(column="label"))
    assert fixed_shape(schema.feature[0]) == SHAPE
    assert text_format.MessageToString(schema).count("dim {") == 3


def schema_of(*shape: int) -> str:
    sizes = " ".join(f"dim {{ size: {size} }}" for size in shape)
    return f'feature {{ name: "image" type: INT shape {{ {sizes} }} }} feature {{ name: "label" type: INT }}'


def test_images_of_the_schemas_shape_are_no_anomaly(tmp_path: Path) -> None:
    assert not validate(tmp_path, schema_of(4, 3, 1), columns()).anomalies


@pytest.mark.parametrize("shape", [(3, 4, 1), (28, 28, 1), (12,)])
def test_images_of_another_shape_are_an_anomaly_that_names_both(tmp_path: Path, shape: tuple[int, ...]) -> None:
    found = only(validate(tmp_path, schema_of(*shape), columns()), "INVALID_FEATURE_SHAPE")
    assert "4 x 3 x 1" in found.description
    assert " x ".join(map(str, shape)) in str(found)


def test_images_of_several_lengths_are_an_anomaly_with_the_rows(tmp_path: Path) -> None:
    images = [*PIXELS[:9].tolist(), [5] * 7]
    found = only(validate(tmp_path, schema_of(*SHAPE), columns(images)), "INVALID_FEATURE_SHAPE")
    assert found.rows == 1


def test_the_page_shows_images_by_their_means_and_not_by_columns(tmp_path: Path) -> None:
    write_examples(tmp_path, columns())
    page = render_statistics(compute_statistics(tmp_path))
    assert page.count("data:image/png;base64,") == 5  # in the table, and of all and three labels
    assert "image, 4 x 3 x 1" in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize(("shape", "mode"), [((4, 3), "L"), ((4, 3, 1), "L"), ((2, 2, 3), "RGB"), ((1, 3, 4), "RGBA")])
def test_pictures_of_all_kinds_of_images(shape: tuple[int, ...], mode: str) -> None:
    values = np.linspace(-1, 1, 12).reshape(shape)
    values.reshape(-1)[3] = np.nan
    image = Image.open(io.BytesIO(encode_png(values, shape, -1, 1)))
    assert (image.mode, image.height, image.width) == (mode, *shape[:2])
    drawn = np.asarray(image).reshape(-1)
    assert (drawn[0], drawn[3], drawn[-1]) == (0, 0, 255)


def test_what_is_drawn() -> None:
    assert [is_image(shape) for shape in ((), (784,), (28, 28), (28, 28, 1), (28, 28, 2), (9, 28, 28, 1))] == [
        False, False, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "is_read"), [("PNG", True), ("JPEG", True), ("GIF", True), ("EPS", False)])
def test_an_image_is_decoded_by_no_other_program(kind: str, is_read: bool) -> None:
    content = io.BytesIO()
    Image.new("L", (3, 4)).save(content, kind)
    if is_read:
        assert decode_image(content.getvalue(), SHAPE).shape == (12,)
        return
    with pytest.raises(DataError, match="no whole image"):
        decode_image(content.getvalue(), SHAPE)
