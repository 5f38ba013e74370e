from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from serving.client.rows import input_features, read_csv, read_json
from serving.protocol.protos import meta_graph_pb2
from slipway.errors import DataError, RequestError


def signature(**inputs: tuple[int, list[int]]) -> Any:
    definition = meta_graph_pb2.SignatureDef()
    for name, (dtype, sizes) in inputs.items():
        definition.inputs[name].dtype = dtype
        for size in sizes:
            definition.inputs[name].tensor_shape.dim.add(size=size)
    return definition


@pytest.fixture
def features() -> list[schema_pb2.Feature]:
    raw = signature(fare=(1, [-1]), seconds=(9, [-1]), company=(7, [-1]), tags=(7, [-1, -1]))
    return input_features({"raw": raw})


def test_input_features_of_raw_keep_types_and_shapes() -> None:
    found = input_features({"raw": signature(a=(1, [-1]), b=(9, [-1, -1]), c=(7, [-1, 2, 3]))})

    assert [(each.name, each.type) for each in found] == [("a", 3), ("b", 2), ("c", 1)]
    assert found[0].value_count.max == 1
    assert found[1].HasField("value_count")
    assert found[1].value_count.max == 0
    assert [dim.size for dim in found[2].shape.dim] == [2, 3]


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        ({"serving_default": signature()}, "has no signature 'raw'.*serving_default"),
        ({"raw": signature(a=(10, [-1]))}, "'a' of raw has TensorFlow's type 10"),
    ],
)
def test_input_features_of_a_model_without_named_columns_is_refused(signatures: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        input_features(signatures)


def test_read_csv_puts_the_models_columns_first_and_leaves_empty_cells_missing(
    features: list[schema_pb2.Feature], tmp_path: Path
) -> None:
    path = tmp_path / "trips.csv"
    path.write_text("\ufefffare,tips,company\n12.5,1,Blue\n,2,\n")

    assert read_csv(path, features).to_pylist() == [
        {"fare": 12.5, "company": "Blue", "tips": 1},
        {"fare": None, "company": None, "tips": 2},
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"fare": 12.5, "tags": ["a"]}\n{"seconds": 3, "other": 1}\n',
        '[{"fare": 12.5, "tags": ["a"]}, {"seconds": 3}]',
        '{"instances": [{"fare": 12.5, "tags": ["a"]}, {"seconds": 3}]}',
    ],
    ids=["lines", "list", "instances"],
)
def test_read_json_in_each_form_gives_the_same_rows(
    features: list[schema_pb2.Feature], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "trips.json"
    path.write_text(text)

    assert read_json(path, features).to_pylist() == [
        {"fare": 12.5, "seconds": None, "tags": ["a"]},
        {"fare": None, "seconds": 3, "tags": None},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing,known\n1,2\n", "no column of the model: it has nothing, known"),
        ("fare\n", "has no rows"),
        ("fare\n1\nmuch\n", "Row #3: .*'much'"),
    ],
)
def test_read_csv_that_does_not_fit_says_what_is_wrong(
    features: list[schema_pb2.Feature], tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "trips.csv"
    path.write_text(content)

    with pytest.raises(DataError, match=message):
        read_csv(path, features)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1 is not JSON"),
        ("[1, 2]", "give one object a line"),
        (json.dumps([{"fare": 1.0}, {"fare": "much"}]), "row 2: fare is 'much', not float"),
        (json.dumps([{"seconds": 2**64}]), "row 1: seconds is 18446744073709551616"),
        ("[]", "no column of the model: it has none"),
        ('[{"fair": 1.0}, {"mile": 2}]', "no column of the model: it has fair, mile, "),
    ],
)
def test_read_json_that_does_not_fit_says_what_is_wrong(
    features: list[schema_pb2.Feature], tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "trips.json"
    path.write_text(content)

    with pytest.raises(DataError, match=message):
        read_json(path, features)


def test_read_of_a_missing_file_names_it(features: list[schema_pb2.Feature], tmp_path: Path) -> None:
    for read in (read_csv, read_json):
        with pytest.raises(DataError, match="absent"):
            read(tmp_path / "absent", features)
