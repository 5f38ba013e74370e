from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.transform_features.transform import _read
from slipway.data.examples.columns import taken_columns
from slipway.data.examples.dataset import MANIFEST, read_manifest
from slipway.data.schema import model_inputs, parse_schema
from slipway.data.tensors import RawFeatures
from slipway.errors import DataError, ModuleError, StoreError
from slipway.module_api import ColumnSplit, Ingestion
from slipway.stores.artifacts import TRANSFORM_GRAPH, TRANSFORMED, check_whole
from tests.job_service import job_service
from tests.shapes import SCHEMA, Artifacts, make_rows, make_transformed, publish, write_examples, write_schema
from tests.small_disk import mount_small_disk
from tests.steps import transform


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


def run(artifacts: Artifacts, uri: str, label: str = "shape") -> None:
    transform(artifacts.examples, artifacts.schema, uri, {"column": label}, {}, artifacts.graph, artifacts.transformed)


@pytest.fixture
def small(tmp_path: Path) -> Artifacts:
    write_examples(tmp_path / "examples", {"train": [make_rows(20, 1)], "eval": []})
    write_schema(tmp_path / "schema")
    return Artifacts(tmp_path)


def test_transform_output_mirrors_the_examples_row_by_row(artifacts: Artifacts) -> None:
    for file in ("split=train/part-0", "split=train/part-1", "split=eval/part-0"):
        raw = pq.read_table(f"{artifacts.examples}/{file}.parquet")
        transformed = pq.read_table(f"{artifacts.transformed}/{file}.parquet")
        assert transformed["shape"].to_pylist() == raw["shape"].to_pylist()
        size = np.log1p([value or 0.0 for value in raw["size"].to_pylist()])
        np.testing.assert_allclose(transformed["size"].to_numpy(), size, rtol=1e-5)
        words = [sum(row) for row in transformed["words"].to_pylist()]
        assert words == [len(row or []) for row in raw["words"].to_pylist()]


def test_transform_analyses_the_training_split_only(artifacts: Artifacts) -> None:
    train = pq.read_table(f"{artifacts.transformed}/split=train")["points"].combine_chunks()
    values = train.flatten().to_numpy().reshape(-1, 4)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-3)


def test_transform_columns_are_scalars_or_lists_of_fixed_size(artifacts: Artifacts) -> None:
    schema = pq.read_table(f"{artifacts.transformed}/split=eval").schema
    assert schema.field("points").type == pa.list_(pa.float32(), 4)
    assert schema.field("size").type == pa.float32()


def test_transform_graph_opens_as_tft_output_without_the_label(artifacts: Artifacts) -> None:
    import tensorflow_transform as tft

    output = tft.TFTransformOutput(artifacts.graph)
    assert set(output.raw_feature_spec()) == {"words", "points", "size", "seen_at"}
    assert set(output.transformed_feature_spec()) == {"words", "points", "size"}


def test_transform_reads_the_names_of_a_file_once(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made anew each time, so that for each feature they take a time that grows as the square."""
    asked: list[None] = []

    class File(pq.ParquetFile):  # type: ignore[misc]
        @property
        def schema_arrow(self) -> pa.Schema:
            asked.append(None)
            return super().schema_arrow

    monkeypatch.setattr(pq, "ParquetFile", File)
    features = RawFeatures(tuple(model_inputs(parse_schema(SCHEMA))))
    assert len(features.features) > 1
    list(_read((f"{artifacts.examples}/split=train/part-0.parquet", 0), features))
    assert len(asked) == 1


def test_transform_failing_preprocessing_names_the_users_line(small: Artifacts) -> None:
    code = "def preprocessing_fn(inputs):\n    return {'size': inputs['sizes']}\n"
    uri = publish(small.folder, preprocessing=code, model="").preprocessing_uri
    with pytest.raises(ModuleError, match=r"shapes/preprocessing.py:2: KeyError: 'sizes'"):
        run(small, uri)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("sizes", "the data has no such column; did you mean size?"),
        ("shape", "it is the label"),
        ("outcome", "label.training_only of module.yaml"),
        ("day", "the split took it"),
        ("notes", "ingestion.ignore of module.yaml leaves it out"),
        ("extra", "schema.pbtxt lacks it"),
        ("hidden", "schema.pbtxt marks it as unknown when the model serves"),
    ],
)
def test_transform_asked_for_a_column_that_is_no_input_says_why_and_which_there_are(
    small: Artifacts, asked: str, why: str
) -> None:
    manifest = read_manifest(small.examples)
    manifest.columns = dict.fromkeys(["words", "points", "size", "extra", "hidden", "outcome", "shape"], "double")
    manifest.taken = taken_columns(ColumnSplit(method="column", column="day"), Ingestion(ignore=("notes",)))
    (Path(small.examples) / MANIFEST).write_text(manifest.model_dump_json())
    marked = "".join(f'feature {{ name: "{name}" type: FLOAT not_in_environment: "SERVING" }}'
                     for name in ("hidden", "outcome"))  # fmt: skip
    (Path(small.schema) / "schema.pbtxt").write_text(SCHEMA + marked)
    label = {"column": "shape", "training_only": ["outcome"]}
    for read in (f"inputs['{asked}']", f"inputs.pop('{asked}')", f"inputs.copy()['{asked}']"):
        code = f"def preprocessing_fn(inputs):\n    return {{'size': {read}}}\n"
        uri = publish(small.folder, preprocessing=code).preprocessing_uri
        with pytest.raises(ModuleError) as raised:
            transform(small.examples, small.schema, uri, label, {}, small.graph, small.transformed)
        for fact in ("shapes/preprocessing.py:2", f"{asked!r} is no input", why, "words", "size", "seen_at"):
            assert fact in str(raised.value)


@pytest.mark.parametrize(
    "answer", ["inputs.get('sizes')", "inputs.get('sizes').values", "fill_missing(inputs.get('sizes'), 0)"]
)
def test_transform_that_gets_none_for_a_column_that_is_no_input_says_why(small: Artifacts, answer: str) -> None:
    code = "from slipway.module_api import fill_missing\n\n"
    code += f"def preprocessing_fn(inputs):\n    return {{'size': {answer}}}\n"
    with pytest.raises(ModuleError) as raised:
        run(small, publish(small.folder, preprocessing=code).preprocessing_uri)
    for fact in ("None", "'sizes'", "no such column; did you mean size?", "words"):
        assert fact in str(raised.value)


def test_transform_that_gets_none_and_fails_not_is_no_error(small: Artifacts) -> None:
    code = "from slipway.module_api import fill_missing\n\n"
    code += "def preprocessing_fn(inputs):\n    inputs.get('sizes')\n"
    code += "    return {'size': fill_missing(inputs['size'], 0.0)}\n"
    run(small, publish(small.folder, preprocessing=code).preprocessing_uri)


def test_transform_key_error_of_the_modules_own_dict_is_told_as_it_is(small: Artifacts) -> None:
    code = "def preprocessing_fn(inputs):\n    return {'size': {}[3]}\n"
    with pytest.raises(ModuleError, match=r"shapes/preprocessing\.py:2: KeyError: 3$"):
        run(small, publish(small.folder, preprocessing=code).preprocessing_uri)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("return None", "returns a dict from names to tensors, not None"),
        ("return {'size': inputs['size']}", "returns SparseTensor for 'size'; it must be a dense tensor"),
        ("return {'words': inputs['words'].to_tensor()}", "all but the batch dimension must be known"),
    ],
)
def test_transform_wrong_answer_of_preprocessing_says_what_is_wanted(small: Artifacts, code: str, message: str) -> None:
    uri = publish(small.folder, preprocessing=f"def preprocessing_fn(inputs):\n    {code}\n").preprocessing_uri
    with pytest.raises(ModuleError, match=message):
        run(small, uri)


def test_transform_empty_training_split_says_so(tmp_path: Path) -> None:
    write_examples(tmp_path / "examples", {"train": [], "eval": [make_rows(20, 1)]})
    write_schema(tmp_path / "schema")
    with pytest.raises(DataError, match="the training split has no rows"):
        run(Artifacts(tmp_path), "unused")


def test_transform_missing_label_column_names_it(small: Artifacts) -> None:
    code = "def preprocessing_fn(inputs):\n    return {'points': inputs['points']}\n"
    uri = publish(small.folder, preprocessing=code).preprocessing_uri
    with pytest.raises(DataError, match="no column 'colour', the label"):
        run(small, uri, label="colour")


def test_transform_value_of_another_type_names_the_column(tmp_path: Path) -> None:
    rows = make_rows(20, 1)
    rows = rows.set_column(rows.column_names.index("size"), "size", pa.array(["big"] * 20))
    write_examples(tmp_path / "examples", {"train": [rows], "eval": []})
    write_schema(tmp_path / "schema")
    code = "def preprocessing_fn(inputs):\n    return {'points': inputs['points']}\n"
    with pytest.raises(DataError, match="column 'size' is string in the data but float32 in the schema"):
        run(Artifacts(tmp_path), publish(tmp_path, preprocessing=code).preprocessing_uri)


@pytest.mark.slow
def test_transform_over_half_written_artifacts_leaves_nothing_of_them(artifacts: Artifacts, tmp_path: Path) -> None:
    graph, transformed = tmp_path / "graph", tmp_path / "transformed"
    for left in (graph / "transform_fn" / "assets" / "old", transformed / "split=train" / "part-9.parquet"):
        left.parent.mkdir(parents=True)
        left.write_bytes(b"half")
    uri = publish(tmp_path).preprocessing_uri
    transform(artifacts.examples, artifacts.schema, uri, {"column": "shape"}, {}, str(graph), str(transformed))
    assert not (graph / "transform_fn" / "assets" / "old").exists()
    assert sorted(path.name for path in transformed.rglob("*") if path.is_file()) == [
        "_SUCCESS", "part-0.parquet", "part-0.parquet", "part-1.parquet",
    ]  # fmt: skip


def test_transform_failing_leaves_nothing_that_looks_whole(artifacts: Artifacts, tmp_path: Path) -> None:
    graph = shutil.copytree(artifacts.graph, str(tmp_path / "graph"))
    transformed = shutil.copytree(artifacts.transformed, str(tmp_path / "transformed"))
    uri = publish(tmp_path).preprocessing_uri
    with pytest.raises(DataError, match="no column 'colour'"):
        transform(artifacts.examples, artifacts.schema, uri, {"column": "colour"}, {}, graph, transformed)
    for folder, last in ((graph, TRANSFORM_GRAPH), (transformed, TRANSFORMED)):
        with pytest.raises(StoreError, match=r"transform_features was stopped.*run transform_features again"):
            check_whole(folder, last, "transform_features")


@pytest.mark.slow
def test_transform_full_disk_names_the_artifact(artifacts: Artifacts, tmp_path: Path) -> None:
    uri = publish(tmp_path).preprocessing_uri
    with mount_small_disk(tmp_path / "disk", "8k") as disk:
        transformed, graph = str(disk / "transformed"), str(tmp_path / "graph")
        with pytest.raises(StoreError, match=r"disk/transformed cannot be written: .*No space left"):
            transform(artifacts.examples, artifacts.schema, uri, {"column": "shape"}, {}, graph, transformed)


def test_transform_by_a_job_service_and_workers_in_other_processes_writes_the_same(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    """The road of Flink and Dataflow: the workers find all by URI, and write below `--temp_location` meanwhile."""
    assert_by_job_service_the_same(artifacts, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif("SLIPWAY_BOOT" not in os.environ, reason="SLIPWAY_BOOT is not set: see make test-boot")
def test_transform_by_workers_that_the_boot_program_starts_writes_the_same(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    """As a container of our image starts on Dataflow; they load `preprocessing_fn` by its URI and digest."""
    assert_by_job_service_the_same(artifacts, tmp_path, os.environ["SLIPWAY_BOOT"])
    assert "--provision_endpoint=" in (tmp_path / "job_service.log").read_text()


def assert_by_job_service_the_same(artifacts: Artifacts, folder: Path, boot: str = "") -> None:
    uri = publish(folder).preprocessing_uri
    graph, transformed = str(folder / "graph"), str(folder / "transformed")
    with job_service(folder, boot) as beam:
        transform(artifacts.examples, artifacts.schema, uri, {"column": "shape"}, beam, graph, transformed)
    for file in ("split=train/part-0", "split=train/part-1", "split=eval/part-0"):
        assert pq.read_table(f"{transformed}/{file}.parquet").equals(
            pq.read_table(f"{artifacts.transformed}/{file}.parquet")
        )
    assert not list((folder / "temp").iterdir())
