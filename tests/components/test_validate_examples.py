from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from google.protobuf import text_format
from kfp import dsl
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.validate_examples.component import validate_examples
from slipway.data.examples.dataset import read_manifest
from slipway.data.validation.declared import Declared, check_declared
from slipway.data.validation.report import Validation, read_validation
from tests.components.ingesting import CONFIG
from tests.example_artifacts import write_curated_schema, write_examples
from tests.steps import compute, infer, ingest, resolve
from tests.steps import validate_data as validate
from tests.taxi_examples import LABEL, SCHEMA, read_trips, write_taxi_examples

MONTHS = {"month": [2, 2], "y": [0, 1]}


def run_steps(
    examples: str, folder: Path, label: dict[str, Any], curated: str = "", previous: str = "", **declared: Any
) -> Validation:
    """Statistics, schema and validation, as the pipeline runs them."""
    compute(examples, str(folder / "statistics"), str(folder / "statistics.html"))
    infer(str(folder / "statistics"), label, write_curated_schema(folder, curated), str(folder / "schema"))
    validate(
        examples, str(folder / "statistics"), str(folder / "schema"), previous,
        {"task": "binary", "label": label, **declared}, str(folder / "anomalies"), str(folder / "validation.html"),
    )  # fmt: skip
    return read_validation(str(folder / "anomalies"))


def test_validate_of_data_that_its_own_schema_describes_passes(tmp_path: Path) -> None:
    columns = {"x": [1.0, None, 2.0, 3.0], "s": ["a", "b", "a", "b"], "y": [0, 1, 0, 1]}
    examples = write_examples(
        tmp_path / "examples", columns, {"x": pa.array([None, None], pa.float64()), "s": ["c", "c"], "y": [1, 0]}
    )
    assert run_steps(examples, tmp_path, {"column": "y"}).anomalies == []


def test_validate_of_bad_data_writes_everything_and_succeeds_so_that_it_is_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    examples = write_examples(tmp_path / "examples", {"month": [1, 13, 13], "y": [0, 1, 1]}, MONTHS)
    curated = 'feature { name: "month" type: INT int_domain { min: 1 max: 12 } } feature { name: "y" type: INT }'
    run_steps(examples, tmp_path, {"column": "y"}, curated)
    for fact in ("feature 'month', split train", "Unexpectedly large value: 13", "2 of 3 rows", "`max: 13`"):
        assert fact in caplog.text
    text = (tmp_path / "anomalies" / "anomalies.pbtxt").read_text(encoding="utf-8")
    anomalies = text_format.Parse(text, anomalies_pb2.Anomalies())
    assert anomalies.anomaly_info["month"].severity == anomalies_pb2.AnomalyInfo.ERROR
    assert read_validation(str(tmp_path / "anomalies")).errors[0].rows == 2
    assert "Unexpectedly large value" in (tmp_path / "validation.html").read_text(encoding="utf-8")


def test_validate_notes_on_the_anomalies_what_they_are_of(tmp_path: Path) -> None:
    examples = write_examples(tmp_path / "examples", {"month": [1, 13], "y": [0, 1]})
    compute(examples, str(tmp_path / "statistics"), str(tmp_path / "page.html"))
    infer(str(tmp_path / "statistics"), {"column": "y"}, "", str(tmp_path / "schema"))
    anomalies = dsl.Artifact(uri=str(tmp_path / "anomalies"))
    made_of = {"examples": examples, "statistics": str(tmp_path / "statistics"), "schema": str(tmp_path / "schema")}
    validate_examples.python_func(
        dsl.Dataset(uri=examples), dsl.Artifact(uri=made_of["statistics"]), dsl.Artifact(uri=made_of["schema"]), "",
        {"task": "binary", "label": {"column": "y"}}, anomalies, dsl.HTML(uri=str(tmp_path / "validation.html")),
    )  # fmt: skip
    assert {name: anomalies.metadata[f"{name}_uri"] for name in made_of} == made_of
    assert (anomalies.metadata["errors"], anomalies.metadata["data_digest"]) == (0, "test")
    assert len(anomalies.metadata["schema_digest"]) == 64


def test_validate_of_a_file_whose_rows_do_not_parse_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("fare,tips,company\n" + "1,2\n" * 50)
    source, _ = resolve(str(tmp_path / "bad.csv"), 1, "taxi", "", str(tmp_path / "sources"))
    ingest(source, CONFIG | {"label": {"column": "company"}}, "", str(tmp_path / "examples"))
    validation = run_steps(str(tmp_path / "examples"), tmp_path, {"column": "company"})
    assert [one.type for one in validation.errors] == ["UNEXPECTED_DATA_TYPE", "NO_DATA_IN_SPAN", "NO_DATA_IN_SPAN"]
    assert "bad.csv:2: 2 fields where the header has 3" in validation.errors[0].description
    page = (tmp_path / "validation.html").read_text(encoding="utf-8")
    assert "50 of 50 rows (100.00%) could not be read" in page


def test_validate_with_a_warning_only_passes_and_logs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples = write_examples(tmp_path / "examples", {"new": [1, 2], "y": [0, 1]})
    validation = run_steps(examples, tmp_path, {"column": "y"}, 'feature { name: "y" type: INT }')
    assert [anomaly.severity for anomaly in validation.anomalies] == ["WARNING", "WARNING"]
    assert "SCHEMA_NEW_COLUMN: New column (column in data but not in schema)" in caplog.text


def test_validate_of_what_module_yaml_declares_stops_before_the_training(tmp_path: Path) -> None:
    """Slices by a column that the data lack; thresholds of a class that no row has; labels that are no class."""
    columns = {"colour": ["red", "blue"] * 4, "words": [["a"]] * 8, "kind": ["a", "b", "NA", "c"] * 2}
    examples = write_examples(tmp_path / "examples", columns, {**columns, "kind": ["a", "b", "b", "b"] * 2})
    validation = run_steps(
        examples, tmp_path, {"column": "kind"}, task="multiclass", classes=["a", "b", "c"],
        sliced=["color", "words"], judged=["c"],
    )  # fmt: skip
    told = {(one.feature, one.split, one.short): one.description for one in validation.errors}
    assert told.keys() == {
        ("color", "", "No column to slice on"), ("words", "", "Slices of lists"),
        ("kind", "train", "Labels that are no classes"), ("kind", "eval", "A class without rows"),
    }  # fmt: skip
    assert "did you mean colour?; its columns are: colour, words, kind" in told["color", "", "No column to slice on"]
    assert "'NA' (2 rows), none of the classes a, b, c" in told["kind", "train", "Labels that are no classes"]


@pytest.mark.parametrize(
    ("task", "labels", "short"),
    [
        ("binary", [0, 1, 2, 1], "Labels that are no classes"),
        ("binary", ["yes", "no", "yes", "no"], "Labels that are no classes"),
        ("binary", [1, 1, 1, 1], "A class without rows"),
        ("regression", [0.5, 1.5, float("inf"), 2.0], "Infinite labels"),
        ("regression", [0.5, 1.5, 1e300, 2.0], "Infinite labels"),
        ("regression", [1, 2, 3, 4], None),
        ("binary", [True, False, True, False], None),
        ("binary", [0.0, 1.0, 0.0, 1.0], None),
    ],
)
def test_validate_of_labels_that_the_task_cannot_take(
    tmp_path: Path, task: str, labels: list[Any], short: str | None
) -> None:
    manifest = read_manifest(write_examples(tmp_path, {"x": [1, 2, 3, 4], "y": labels}))
    found = list(check_declared(tmp_path, manifest, Declared.model_validate({"task": task, "label": {"column": "y"}})))
    assert [(one.split, one.short) for one in found] == ([("train", short), ("eval", short)] if short else [])
    assert all(one.severity == "ERROR" for one in found)


def test_validate_of_real_trips_passes_the_schema_inferred_from_them(tmp_path: Path) -> None:
    assert run_steps(write_taxi_examples(tmp_path / "examples"), tmp_path, LABEL).anomalies == []


def test_validate_of_real_trips_passes_the_curated_schema(tmp_path: Path) -> None:
    examples = write_taxi_examples(tmp_path / "examples")
    assert run_steps(examples, tmp_path, LABEL, SCHEMA.read_text(encoding="utf-8")).anomalies == []


def test_validate_of_real_trips_of_another_year_has_drifted_within_the_thresholds(tmp_path: Path) -> None:
    trips = read_trips()
    newest = pc.greater(trips["trip_start_timestamp"], 1_420_070_400)  # 2015
    before = write_taxi_examples(tmp_path / "before", trips.filter(pc.invert(newest)))
    compute(before, str(tmp_path / "before_statistics"), str(tmp_path / "before.html"))
    now = write_taxi_examples(tmp_path / "now", trips.filter(newest))
    curated = SCHEMA.read_text(encoding="utf-8")
    validation = run_steps(now, tmp_path, LABEL, curated, str(tmp_path / "before_statistics"))
    assert validation.anomalies == []
    assert {one.feature for one in validation.comparisons} == {"fare", "trip_miles", "payment_type", "company"}


def spoiled(trips: pa.Table, column: str, values: pa.ChunkedArray) -> pa.Table:
    return trips.set_column(trips.column_names.index(column), column, values)


@pytest.mark.parametrize(
    ("column", "type_"),
    [
        ("trip_start_timestamp", "INT_TYPE_BIG_INT"),  # in milliseconds
        pytest.param(
            "pickup_latitude", "FLOAT_TYPE_SMALL_FLOAT", marks=pytest.mark.slow
        ),  # on the other half of the earth
        pytest.param("company", "FEATURE_TYPE_LOW_FRACTION_PRESENT", marks=pytest.mark.slow),  # nearly gone
        ("fare", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"),  # in cents
        pytest.param("payment_type", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", marks=pytest.mark.slow),  # in capitals
    ],
)
def test_validate_of_spoiled_trips_fails(tmp_path: Path, column: str, type_: str) -> None:
    trips = read_trips()
    values = {
        "trip_start_timestamp": lambda old: pc.multiply(old, 1000),
        "pickup_latitude": pc.negate,
        "company": lambda old: pc.if_else(pc.greater(trips["trip_start_month"], 2), pa.scalar(None, pa.string()), old),
        "fare": lambda old: pc.min_element_wise(pc.multiply(old, 100), 9999),
        "payment_type": pc.utf8_upper,
    }[column](trips[column])
    compute(write_taxi_examples(tmp_path / "before", trips), str(tmp_path / "previous"), str(tmp_path / "before.html"))
    examples = write_taxi_examples(tmp_path / "examples", spoiled(trips, column, values))
    curated = SCHEMA.read_text(encoding="utf-8")
    validation = run_steps(examples, tmp_path, LABEL, curated, str(tmp_path / "previous"))
    assert (column, "train", type_) in {(one.feature, one.split, one.type) for one in validation.errors}
