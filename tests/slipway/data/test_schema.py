from pathlib import Path

import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.data.schema import infer_schema, model_inputs, read_curated_schema
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


LABEL = Label(column="y", training_only=("late",))
Y = 'feature { name: "y" type: INT }\n'


def test_read_curated_schema_adds_the_marks_that_lack() -> None:
    schema = read_curated_schema(Y + 'feature { name: "late" type: FLOAT } feature { name: "x" type: FLOAT }', LABEL)
    assert [feature.name for feature in model_inputs(schema)] == ["x"]
    assert list(schema.default_environment) == ["TRAINING", "SERVING"]


def test_read_curated_schema_keeps_marks_that_are_there() -> None:
    text = 'feature { name: "y" type: INT not_in_environment: "SERVING" } default_environment: "SERVING"'
    schema = read_curated_schema(text, LABEL)
    assert list(schema.feature[0].not_in_environment) == ["SERVING"]
    assert sorted(schema.default_environment) == ["SERVING", "TRAINING"]


def test_read_curated_schema_that_does_not_parse_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"schema\.pbtxt:3: not a tensorflow_metadata Schema"):
        read_curated_schema(Y + 'feature {\n  nam: "x"\n}', LABEL)


def test_read_curated_schema_without_the_label_says_where_to_add_it() -> None:
    with pytest.raises(ConfigError, match=r"schema\.pbtxt has no feature 'y'.*add the feature to schema\.pbtxt"):
        read_curated_schema('feature { name: "x" type: FLOAT }', LABEL)


def test_read_curated_schema_with_a_label_for_serving_is_refused() -> None:
    text = 'feature { name: "y" type: INT in_environment: "SERVING" }'
    with pytest.raises(ConfigError, match="feature 'y' is in_environment: \"SERVING\""):
        read_curated_schema(text, LABEL)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ('name: "x" type: STRUCT', "type STRUCT is not supported; use BYTES, INT or FLOAT"),
        ('name: "x"', "type TYPE_UNKNOWN is not supported"),
        ('name: "x" type: INT float_domain { min: 0 }', "float_domain does not go with type INT"),
        ('name: "x" type: BYTES domain: "d"', "there is no string_domain 'd'; it has none"),
        ('name: "x" type: INT presence { min_fraction: 1.5 }', "min_fraction 1.5 is not between 0 and 1"),
        ('name: "x" type: INT value_count { min: 2 max: 1 }', "value_count.max 1 is less than value_count.min 2"),
        ('name: "x" type: INT value_counts { }', "value_counts and group_presence are for nested features"),
        (
            'name: "x" type: INT distribution_constraints { min_domain_mass: 0.5 }',
            "distribution_constraints need a domain of strings",
        ),
        (
            'name: "x" type: INT drift_comparator { infinity_norm { threshold: 0.1 } }',
            "drift_comparator.infinity_norm compares strings; use jensen_shannon_divergence for type INT",
        ),
        (
            'name: "x" type: INT skew_comparator { normalized_abs_difference { threshold: 0.1 } }',
            "skew_comparator.normalized_abs_difference is not supported",
        ),
        ('name: "y" type: INT', "feature 'y' is given 2 times; keep one"),
    ],
)
def test_read_curated_schema_that_contradicts_itself_says_how(feature: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_curated_schema(f"{Y}feature {{ {feature} }}", LABEL)


def test_read_curated_schema_that_compares_versions_is_told_what_compares_runs() -> None:
    bound = "dataset_constraints { num_examples_version_comparator { min_fraction_threshold: 0.5 } }"
    with pytest.raises(ConfigError, match=r"num_examples_version_comparator is not supported.*num_examples_drift"):
        read_curated_schema(bound, LABEL)


def test_infer_schema_weight_and_group_are_no_inputs(tmp_path: Path) -> None:
    write_examples(tmp_path, {"w": [1.0, 2.0], "customer": ["a", "b"], "x": [1, 2], "y": [0, 1]})
    label = Label(column="y", weight="w")
    schema = infer_schema(compute_statistics(tmp_path), label, "customer")
    assert [feature.name for feature in model_inputs(schema)] == ["x"]
    with pytest.raises(ConfigError, match=r"'clerk', which split\.column names"):
        infer_schema(compute_statistics(tmp_path), label, "clerk")
    curated = read_curated_schema(
        'feature { name: "y" type: INT } feature { name: "w" type: FLOAT }', label, "customer"
    )
    assert not model_inputs(curated)
