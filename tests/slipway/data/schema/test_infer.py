from pathlib import Path

import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.data.schema.infer import infer_schema
from slipway.data.schema.io import model_inputs
from slipway.data.statistics.compute import compute_statistics
from slipway.errors import ConfigError
from slipway.module_api import Label
from tests.example_artifacts import write_examples


def infer(
    folder: Path, train: dict[str, object], evaluation: dict[str, object] | None = None, label: Label | None = None
) -> dict[str, schema_pb2.Feature]:
    write_examples(folder, train, evaluation)
    return {feature.name: feature for feature in infer_schema(compute_statistics(folder), label).feature}


def test_infer_schema_gives_types(tmp_path: Path) -> None:
    features = infer(tmp_path, {"i": [1], "f": [1.5], "s": ["a"], "b": [b"\xff"]})
    types = {name: schema_pb2.FeatureType.Name(feature.type) for name, feature in features.items()}
    assert types == {"i": "INT", "f": "FLOAT", "s": "BYTES", "b": "BYTES"}


def test_infer_schema_of_a_feature_never_missing_requires_it_everywhere(tmp_path: Path) -> None:
    feature = infer(tmp_path, {"x": [1, 2]})["x"]
    assert (feature.presence.min_fraction, feature.presence.min_count) == (1, 1)
    assert (feature.value_count.min, feature.value_count.max) == (1, 1)


def test_infer_schema_of_a_feature_missing_in_eval_only_does_not_require_it(tmp_path: Path) -> None:
    feature = infer(tmp_path, {"x": [1, 2]}, {"x": [None, 2]})["x"]
    assert not feature.presence.HasField("min_fraction")
    assert feature.presence.min_count == 1


def test_infer_schema_of_a_feature_always_missing_asks_for_nothing(tmp_path: Path) -> None:
    feature = infer(tmp_path, {"x": pa.array([None, None], pa.float64())})["x"]
    assert feature.presence.min_count == 0
    assert not feature.presence.HasField("min_fraction")


def test_infer_schema_of_lists_of_one_length_gives_a_shape(tmp_path: Path) -> None:
    feature = infer(tmp_path, {"x": pa.array([[1.0, 2.0], [3.0, 4.0]])})["x"]
    assert [dim.size for dim in feature.shape.dim] == [2]


@pytest.mark.parametrize(("lists", "minimum"), [([[1], [2, 3]], 1), ([[], [2, 3]], 0)])
def test_infer_schema_of_lists_that_vary_bounds_them_from_below_only(
    tmp_path: Path, lists: list[list[int]], minimum: int
) -> None:
    feature = infer(tmp_path, {"x": pa.array(lists, pa.list_(pa.int64()))})["x"]
    assert feature.HasField("value_count")
    assert (feature.value_count.min, feature.value_count.HasField("max")) == (minimum, False)


def test_infer_schema_of_few_strings_lists_those_of_both_splits(tmp_path: Path) -> None:
    write_examples(tmp_path, {"s": ["b", "a", "b", "a"]}, {"s": ["c", "c"]})
    schema = infer_schema(compute_statistics(tmp_path))
    assert schema.feature[0].domain == "s"
    assert [(domain.name, list(domain.value)) for domain in schema.string_domain] == [("s", ["a", "b", "c"])]


@pytest.mark.parametrize("values", [[f"v{index % 101}" for index in range(500)], ["a", "b", "c", "d"]])
def test_infer_schema_of_many_or_unrepeated_strings_gives_no_domain(tmp_path: Path, values: list[str]) -> None:
    write_examples(tmp_path, {"s": values}, {"s": values[:1]})
    schema = infer_schema(compute_statistics(tmp_path))
    assert not schema.string_domain
    assert schema.feature[0].WhichOneof("domain_info") is None


def test_infer_schema_marks_what_is_unknown_when_serving(tmp_path: Path) -> None:
    write_examples(tmp_path, {"fare": [1.0], "tips": [0.5], "big_tip": [1]})
    label = Label(column="big_tip", training_only=("tips",))
    schema = infer_schema(compute_statistics(tmp_path), label)
    assert list(schema.default_environment) == ["TRAINING", "SERVING"]
    assert [feature.name for feature in model_inputs(schema)] == ["fare"]


def test_infer_schema_without_a_label_leaves_all_features_as_inputs(tmp_path: Path) -> None:
    write_examples(tmp_path, {"fare": [1.0], "tips": [0.5]})
    assert [feature.name for feature in model_inputs(infer_schema(compute_statistics(tmp_path)))] == ["fare", "tips"]


def test_infer_schema_with_an_unknown_label_names_the_nearest_column(tmp_path: Path) -> None:
    write_examples(tmp_path, {"big_tip": [1]})
    with pytest.raises(ConfigError, match=r"no feature 'big_tips', which label\.column names; did you mean"):
        infer_schema(compute_statistics(tmp_path), Label(column="big_tips"))


def test_infer_schema_with_an_unknown_training_only_column_names_it(tmp_path: Path) -> None:
    write_examples(tmp_path, {"x": [1]})
    with pytest.raises(ConfigError, match=r"no feature 'tips', which label\.training_only names; known: x"):
        infer_schema(compute_statistics(tmp_path), Label(column="x", training_only=("tips",)))
