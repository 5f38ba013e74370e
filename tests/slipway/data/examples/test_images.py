"""Images in every form that practitioners have them: idx pairs, files in a column, nested and flat lists."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from slipway.data.examples.source import locate
from slipway.data.images import shapes_in
from slipway.errors import ConfigError, DataError
from tests.slipway.data.examples.ingesting import Ingested, ingest

SCHEMA = """feature { name: "image" type: INT shape { dim { size: 4 } dim { size: 3 } dim { size: 1 } } }
feature { name: "label" type: INT value_count { min: 1 max: 1 } }"""
PIXELS = np.random.default_rng(1).integers(0, 256, (60, 4, 3)).astype(np.uint8)
LABELS = np.arange(60, dtype=np.uint8) % 3
CODES = {"u1": 8, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx(values: NDArray[Any], kind: str = "u1") -> bytes:
    return (
        struct.pack(f">HBB{values.ndim}I", 0, CODES[kind], values.ndim, *values.shape) + values.astype(kind).tobytes()
    )


def write_idx(folder: Path, images: bytes, labels: bytes, name: str = "train-{}-idx{}-ubyte.gz") -> Path:
    folder.mkdir(exist_ok=True)
    for kind, dimensions, content in (("images", 3, images), ("labels", 1, labels)):
        path = folder / name.format(kind, dimensions)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return folder / name.format("images", 3)


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def rows_of(ingested: Ingested) -> list[tuple[Any, Any]]:
    return list(zip(ingested.column("image"), ingested.column("label"), strict=True))


def read(data: Path | str, folder: Path, schema: str = "", **given: Any) -> Ingested:
    return ingest(data, folder, label="label", task="multiclass", schema=schema, **given)


@pytest.mark.parametrize("name", ["train-{}-idx{}-ubyte.gz", "t10k-{}.idx{}-ubyte", "digits-{}-idx{}-ubyte"])
def test_images_and_labels_are_read_by_the_name_of_the_images(tmp_path: Path, name: str) -> None:
    path = write_idx(tmp_path / "data", idx(PIXELS), idx(LABELS), name)
    for data in (path, path.parent):
        found = read(data, tmp_path / f"examples-{data.name}")
        assert found.rows.read == 60
        assert sorted(rows_of(found)) == sorted(
            (image.reshape(-1).tolist(), label) for image, label in zip(PIXELS, LABELS.tolist(), strict=True)
        )
        schema = found.table().schema
        assert shapes_in(schema) == {"image": (4, 3, 1)}
        assert schema.field("image").type.value_type == pa.uint8()


def test_labels_may_be_packed_otherwise_and_are_part_of_the_sources_digest(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "data", idx(PIXELS), idx(LABELS))
    before = locate(str(path), 1)
    labels = path.with_name("train-labels-idx1-ubyte.gz")
    labels.unlink()
    labels.with_suffix("").write_bytes(idx(1 + LABELS))
    after = locate(str(path), 1)
    assert before.digest != after.digest
    assert [Path(file.uri).name for file in after.files] == [path.name, "train-labels-idx1-ubyte"]
    assert set(read(path, tmp_path / "examples").column("label")) == {1, 2, 3}


def test_folders_name_the_split_of_idx_files(tmp_path: Path) -> None:
    for split, part in (("train", slice(0, 40)), ("eval", slice(40, 60))):
        (tmp_path / "data" / f"part={split}").mkdir(parents=True)
        write_idx(tmp_path / "data" / f"part={split}", idx(PIXELS[part]), idx(LABELS[part]))
    found = read(tmp_path / "data", tmp_path / "examples", split={"method": "column", "column": "part"})
    assert (found.rows.train, found.rows.eval) == (40, 20)


@pytest.mark.parametrize("kind", [">i2", ">i4", ">f4", ">f8"])
def test_other_types_and_channels_are_read(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(2).integers(-9, 300, (20, 2, 3, 3))
    path = write_idx(tmp_path / "data", idx(values, kind), idx(np.arange(20)))
    found = read(path, tmp_path / "examples")
    assert sorted(found.column("image")) == sorted(values.reshape(20, -1).tolist())
    assert shapes_in(found.table().schema) == {"image": (2, 3, 3)}


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (idx(PIXELS)[:-5], idx(LABELS), ["715", "720"]),
        (idx(PIXELS) + b"x", idx(LABELS), ["721", "720"]),
        (idx(PIXELS), idx(LABELS[:-1]), ["60 images", "59 labels"]),
        (b"\x89PNG....", idx(LABELS), ["not an idx file", "89 50 4e 47"]),
        (b"", idx(LABELS), ["not an idx file"]),
        (idx(PIXELS)[:9], idx(LABELS), ["header"]),
        (idx(LABELS), idx(LABELS), ["not images"]),
        (idx(PIXELS), idx(PIXELS), ["labels-idx1", "4 x 3"]),
        (idx(PIXELS), idx(LABELS, ">f4"), ["labels-idx1", "float32"]),
    ],
)
def test_damaged_pairs_are_named(tmp_path: Path, images: bytes, labels: bytes, said: list[str]) -> None:
    path = write_idx(tmp_path / "data", images, labels)
    with pytest.raises(DataError) as raised:
        read(path, tmp_path / "examples")
    assert all(text in str(raised.value) for text in said), raised.value


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "data", idx(PIXELS), idx(LABELS))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="damaged or cut"):
        read(path, tmp_path / "examples")


def test_labels_without_images_are_named(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "data", idx(PIXELS), idx(LABELS))
    with pytest.raises(DataError, match="name the idx file of the images"):
        locate(str(path.with_name("train-labels-idx1-ubyte.gz")), 1)


def test_images_without_labels_have_no_label_to_train_by(tmp_path: Path) -> None:
    """A batch needs none."""
    path = write_idx(tmp_path / "data", idx(PIXELS), idx(LABELS))
    path.with_name("train-labels-idx1-ubyte.gz").unlink()
    assert len(locate(str(path), 1).files) == 1
    with pytest.raises((DataError, ConfigError), match=r"'label'.*its columns are: image"):
        read(path, tmp_path / "examples")
    other = write_idx(tmp_path / "other", idx(PIXELS), idx(LABELS))
    with pytest.raises(DataError, match=r"data/train-images-idx3-ubyte\.gz: its labels are not beside it"):
        read(f"{path},{other}", tmp_path / "examples")


def test_files_of_images_of_two_sizes_do_not_fit_together(tmp_path: Path) -> None:
    one = write_idx(tmp_path / "one", idx(PIXELS), idx(LABELS))
    other = write_idx(tmp_path / "other", idx(PIXELS[:, :2]), idx(LABELS))
    with pytest.raises(DataError) as raised:
        read(f"{one},{other}", tmp_path / "examples")
    assert "4 x 3" in str(raised.value)
    assert "2 x 3" in str(raised.value)


def write_table(path: Path, column: pa.Array) -> Path:
    pq.write_table(pa.table({"image": column, "label": pa.array(LABELS.astype(np.int64))}), path)
    return path


def write_records(path: Path) -> Path:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for pixels, label in zip(PIXELS, LABELS.tolist(), strict=True):
            features = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png(pixels)])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return path


FILES = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_every_form_gives_the_same_examples_and_split(tmp_path: Path) -> None:
    flat = [image.reshape(-1) for image in PIXELS]
    paths = [
        write_idx(tmp_path / "idx", idx(PIXELS), idx(LABELS)),
        write_records(tmp_path / "png.tfrecord"),
        write_table(tmp_path / "png.parquet", pa.array([png(image) for image in PIXELS])),
        write_table(tmp_path / "face.parquet", pa.array([{"bytes": png(i), "path": "x.png"} for i in PIXELS], FILES)),
        write_table(tmp_path / "nested.parquet", pa.array([image.tolist() for image in PIXELS])),
        write_table(tmp_path / "deep.parquet", pa.array([image[..., None].tolist() for image in PIXELS])),
        write_table(tmp_path / "flat.parquet", pa.array([image.tolist() for image in flat])),
        write_table(tmp_path / "fixed.parquet", pa.array(flat, pa.list_(pa.uint8(), 12))),
    ]
    first, *others = [read(path, tmp_path / f"examples-{path.name}", SCHEMA) for path in paths]
    assert first.rows.train + first.rows.eval == 60
    for path, other in zip(paths[1:], others, strict=True):
        for split in ("train", "eval"):
            wanted, found = ({tuple(row) for row in one.table(split)["image"].to_pylist()} for one in (first, other))
            assert wanted == found, path.name
        assert shapes_in(other.table().schema) == {"image": (4, 3, 1)}, path.name


def test_files_that_are_no_image_of_the_schemas_size_go_to_quarantine(tmp_path: Path) -> None:
    contents = [png(image) for image in PIXELS]
    contents[7], contents[8], contents[9] = b"nope", png(PIXELS[8][:2]), contents[9][:30]
    found = read(write_table(tmp_path / "x.parquet", pa.array(contents)), tmp_path / "examples", SCHEMA, limit=0.1)
    assert found.rows.quarantined == 3
    said = {each["line"]: each["reason"] for each in found.quarantine()}
    assert said.keys() == {8, 9, 10}
    assert "2 x 3" in said[9]
    assert "6e 6f 70 65" in said[8]


def test_colours_become_grey_and_grey_becomes_colours_as_the_schema_says(tmp_path: Path) -> None:
    red = np.zeros((60, 4, 3, 3), np.uint8)
    red[..., 0] = 200
    path = write_table(tmp_path / "red.parquet", pa.array([png(image) for image in red]))
    grey = read(path, tmp_path / "grey", SCHEMA).column("image")
    assert {value for image in grey for value in image} == {60}  # ITU-R 601: 0.299 of red
    colours = read(path, tmp_path / "colours", SCHEMA.replace("size: 1 ", "size: 3 ")).column("image")
    assert colours[0][:4] == [200, 0, 0, 200]


def test_nested_lists_without_a_schema_are_named_as_no_type_of_examples(tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.parquet", pa.array([image.tolist() for image in PIXELS]))
    with pytest.raises(DataError, match="image"):
        read(path, tmp_path / "examples")
