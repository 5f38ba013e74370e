from pathlib import Path

import pytest

from slipway.data.schema import model_inputs, read_schema
from slipway.errors import ConfigError
from tests.example_artifacts import write_curated_schema, write_examples
from tests.steps import compute, infer
from tests.taxi_examples import LABEL, SCHEMA, write_taxi_examples


def statistics_of(examples: str, folder: Path) -> str:
    compute(examples, str(folder / "statistics"), str(folder / "page.html"))
    return str(folder / "statistics")


def test_infer_without_a_curated_schema_infers_one(tmp_path: Path) -> None:
    statistics = statistics_of(write_examples(tmp_path / "examples", {"x": [1.0], "y": [1]}), tmp_path)
    infer(statistics, {"column": "y"}, "", str(tmp_path / "schema"))
    assert [feature.name for feature in model_inputs(read_schema(tmp_path / "schema"))] == ["x"]


def test_infer_with_a_curated_schema_takes_it(tmp_path: Path) -> None:
    curated = 'feature { name: "x" type: FLOAT float_domain { min: 0 } } feature { name: "y" type: INT }'
    infer("not read", {"column": "y"}, write_curated_schema(tmp_path, curated), str(tmp_path / "schema"))
    schema = read_schema(tmp_path / "schema")
    assert schema.feature[0].float_domain.HasField("min")
    assert list(schema.feature[1].not_in_environment) == ["SERVING"]


def test_infer_with_bounds_of_the_rows_alone_infers_the_features(tmp_path: Path) -> None:
    statistics = statistics_of(write_examples(tmp_path / "examples", {"x": [1.0], "y": [1]}), tmp_path)
    bounds = write_curated_schema(tmp_path, "# of each split\ndataset_constraints { min_examples_count: 7 }")
    infer(statistics, {"column": "y"}, bounds, str(tmp_path / "schema"))
    schema = read_schema(tmp_path / "schema")
    assert schema.dataset_constraints.min_examples_count == 7
    assert [feature.name for feature in model_inputs(schema)] == ["x"]


def test_infer_with_a_curated_schema_of_wrong_syntax_names_the_line(tmp_path: Path) -> None:
    wrong = write_curated_schema(tmp_path, 'feature { name: "y" }\nfeatur {}')
    with pytest.raises(ConfigError, match=r"schema\.pbtxt:2"):
        infer("not read", {"column": "y"}, wrong, str(tmp_path / "schema"))


def test_infer_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    statistics = statistics_of(write_examples(tmp_path / "examples", {"x": ["a", "a"], "y": [1, 0]}), tmp_path)
    for name in ("first", "second"):
        infer(statistics, {"column": "y"}, "", str(tmp_path / name))
    first, second = ((tmp_path / name / "schema.pbtxt").read_bytes() for name in ("first", "second"))
    assert first == second


def test_infer_of_real_trips_is_a_sensible_schema(tmp_path: Path) -> None:
    statistics = statistics_of(write_taxi_examples(tmp_path / "examples"), tmp_path)
    infer(statistics, LABEL, "", str(tmp_path / "schema"))
    schema = read_schema(tmp_path / "schema")
    features = {feature.name: feature for feature in schema.feature}
    curated = read_schema(SCHEMA.parent)
    assert {name: one.type for name, one in features.items()} == {one.name: one.type for one in curated.feature}
    assert features["fare"].presence.min_fraction == 1
    assert not features["company"].presence.HasField("min_fraction")
    assert {domain.name for domain in schema.string_domain} == {"payment_type", "company"}
    assert {feature.name for feature in schema.feature} - {one.name for one in model_inputs(schema)} == {
        "tips", "big_tip",
    }  # fmt: skip
