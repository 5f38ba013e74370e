import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.slipway.data.validation.validated import only, validate


def test_validate_examples_that_fit_finds_nothing(tmp_path: Path) -> None:
    schema = """
      feature { name: "x" type: FLOAT presence { min_fraction: 1 min_count: 1 } value_count { min: 1 max: 1 }
                float_domain { min: 0.1 max: 2 } }
      feature { name: "s" type: BYTES domain: "s" } string_domain { name: "s" value: "a" value: "b" }"""
    assert validate(tmp_path, schema, {"x": [0.1, 2.0], "s": ["a", None]}).anomalies == []


def test_validate_examples_without_a_column_says_column_dropped(tmp_path: Path) -> None:
    schema = 'feature { name: "trip_miles" type: FLOAT presence { min_count: 1 } } feature { name: "x" type: INT }'
    found = validate(tmp_path, schema, {"x": [1, 2], "trip_mile": [0.5, 1.0]})
    (missing, _), new = found.errors, [a for a in found.anomalies if a.severity == "WARNING"]
    assert (missing.type, missing.short, missing.rows) == ("SCHEMA_MISSING_COLUMN", "Column dropped", 2)
    assert missing.description == "Column is completely missing"
    assert "renamed to 'trip_mile'?" in missing.fix
    assert {anomaly.type for anomaly in new} == {"SCHEMA_NEW_COLUMN"}


def test_validate_examples_without_an_optional_column_finds_nothing(tmp_path: Path) -> None:
    schema = 'feature { name: "maybe" type: INT presence { min_count: 0 } } feature { name: "x" type: INT }'
    assert validate(tmp_path, schema, {"x": [1]}).anomalies == []


def test_validate_examples_with_a_new_column_warns(tmp_path: Path) -> None:
    found = only(validate(tmp_path, 'feature { name: "x" type: INT }', {"x": [1], "z": ["a"]}), "SCHEMA_NEW_COLUMN")
    assert (found.severity, found.description) == ("WARNING", "New column (column in data but not in schema)")
    assert 'feature { name: "z" type: BYTES' in found.fix


def test_validate_examples_outside_training_warns_of_the_environment(tmp_path: Path) -> None:
    schema = 'feature { name: "x" type: INT not_in_environment: "TRAINING" }'
    found = only(validate(tmp_path, schema, {"x": [1]}), "SCHEMA_NEW_COLUMN")
    assert found.short == "Column missing in environment"


@pytest.mark.parametrize("mark", ["deprecated: true", "lifecycle_stage: PLANNED"])
def test_validate_examples_ignores_a_feature_out_of_use(tmp_path: Path, mark: str) -> None:
    schema = f'feature {{ name: "x" type: INT presence {{ min_count: 1 }} {mark} }} feature {{ name: "y" type: INT }}'
    assert validate(tmp_path, schema, {"y": [1]}).anomalies == []


def test_validate_examples_with_unknown_strings_counts_them(tmp_path: Path) -> None:
    schema = 'feature { name: "pay" type: BYTES domain: "pay" } string_domain { name: "pay" value: "Cash" }'
    pays = ["Cash"] * 6 + ["Coin", "Coin", 'a"b', None]
    found = only(validate(tmp_path, schema, {"pay": pays}, {"pay": ["Cash"]}), "ENUM_TYPE_UNEXPECTED_STRING_VALUES")
    assert found.short == "Unexpected string values"
    assert 'Coin (22.2%), a"b (11.1%)' in found.description
    assert (found.rows, found.of_rows, found.example) == (3, 10, "Coin")
    assert "add `value: \"Coin\"` to string_domain 'pay' in schema.pbtxt" in found.fix


@pytest.mark.parametrize(("mass", "expected"), [("0.8", 0), ("0.9", 1)])
def test_validate_examples_tolerates_unknown_strings_up_to_the_domain_mass(
    tmp_path: Path, mass: str, expected: int
) -> None:
    schema = f"""feature {{ name: "s" type: BYTES string_domain {{ value: "a" }}
                 distribution_constraints {{ min_domain_mass: {mass} }} }}"""
    found = validate(tmp_path, schema, {"s": ["a"] * 8 + ["b", "c"]}, {"s": ["a"]})
    assert len(found.anomalies) == expected


def test_validate_examples_of_another_type_says_which(tmp_path: Path) -> None:
    found = only(validate(tmp_path, 'feature { name: "x" type: INT }', {"x": ["1", "1", "?"]}), "UNEXPECTED_DATA_TYPE")
    assert found.description == "Expected data of type: INT but got STRING"
    assert (found.rows, found.example) == (3, "1")
    assert "change `type: INT` of feature 'x' to `type: BYTES`" in found.fix


@pytest.mark.parametrize(
    ("domain", "values", "type_", "said", "rows", "example"),
    [
        ("INT int_domain { min: 1 max: 12 }", [0, 0, 3], "INT_TYPE_SMALL_INT", "small value: 0.", 2, "0"),
        ("INT int_domain { min: 1 max: 12 }", [1, 13, 3], "INT_TYPE_BIG_INT", "large value: 13.", 1, "13"),
        (
            "FLOAT float_domain { min: 0.1 }", [0.09, 0.1, 1.0], "FLOAT_TYPE_SMALL_FLOAT",
            "small value: 0.09", 1, "0.09",
        ),
        (
            "FLOAT float_domain { max: 5 }", [5.5, 6.0, 6.0], "FLOAT_TYPE_BIG_FLOAT",
            "large value: 6", 3, "6.0",
        ),
        (
            "FLOAT float_domain { max: 5 }", [math.inf, math.nan, 1.0], "FLOAT_TYPE_BIG_FLOAT",
            "large value: inf", 1, "inf",
        ),
        (
            "FLOAT float_domain { disallow_nan: true }", [math.nan, 1.0], "FLOAT_TYPE_HAS_NAN",
            "NaN values.", 1, "nan",
        ),
        (
            "FLOAT float_domain { disallow_inf: true }", [-math.inf, 1.0], "FLOAT_TYPE_HAS_INF",
            "Inf values.", 1, "-inf",
        ),
        ("INT bool_domain { }", [0, 1, 2], "BOOL_TYPE_BIG_INT", "large value: 2.", 1, "2"),
        ("INT bool_domain { }", [0, 1, -1], "BOOL_TYPE_SMALL_INT", "small value: -1.", 1, "-1"),
        (
            'BYTES bool_domain { true_value: "y" false_value: "n" }', ["y", "n", "q"], "BOOL_TYPE_UNEXPECTED_STRING",
            "value: q", 1, "q",
        ),
    ],
)  # fmt: skip
def test_validate_examples_outside_a_domain(
    tmp_path: Path, domain: str, values: list[Any], type_: str, said: str, rows: int, example: str
) -> None:
    found = only(
        validate(tmp_path, f'feature {{ name: "x" type: {domain} }}', {"x": values}),
        type_,
    )
    assert said in found.description
    assert (found.rows, found.example) == (rows, example)
    assert found.severity == "ERROR"
    assert found.bound
    assert "schema.pbtxt" in found.fix


def test_validate_examples_of_integers_out_of_range_names_the_line_to_change(tmp_path: Path) -> None:
    schema = 'feature { name: "month" type: INT int_domain { min: 1 max: 12 } }'
    found = only(validate(tmp_path, schema, {"month": [1, 13]}, {"month": [1]}), "INT_TYPE_BIG_INT")
    assert found.bound == "int_domain { max: 12 }"
    assert "change `max: 12` in the int_domain of feature 'month' to `max: 13`" in found.fix


@pytest.mark.parametrize(
    ("presence", "values", "type_", "rows"),
    [
        ("min_fraction: 1", [1, None, 3, 4], "FEATURE_TYPE_LOW_FRACTION_PRESENT", 1),
        ("min_fraction: 0.9", [1, None, 3, 4], "FEATURE_TYPE_LOW_FRACTION_PRESENT", 1),
        ("min_count: 4", [1, None, 3, 4], "FEATURE_TYPE_LOW_NUMBER_PRESENT", 1),
        ("min_count: 1", [None, None], "FEATURE_TYPE_NOT_PRESENT", 2),
    ],
)
def test_validate_examples_too_seldom_present(
    tmp_path: Path, presence: str, values: list[int | None], type_: str, rows: int
) -> None:
    column = {"x": pa.array(values, pa.int64())}
    found = only(validate(tmp_path, f'feature {{ name: "x" type: INT presence {{ {presence} }} }}', column), type_)
    assert (found.short, found.rows, found.example) == ("Column dropped", rows, None)
    assert presence.split(":")[0] in found.bound


def test_validate_examples_expected_everywhere_says_how_many_miss_it(tmp_path: Path) -> None:
    schema = 'feature { name: "x" type: INT presence { min_fraction: 1 } }'
    found = only(validate(tmp_path, schema, {"x": [1, None, None]}), "FEATURE_TYPE_LOW_FRACTION_PRESENT")
    assert found.description == "The feature was expected everywhere, but was missing in 2 examples."
    assert "to `min_fraction: 0.33`" in found.fix


@pytest.mark.parametrize(
    ("bound", "type_", "rows", "example"),
    [
        ("value_count { min: 1 }", "FEATURE_TYPE_LOW_NUMBER_VALUES", 1, "[]"),
        ("value_count { max: 1 }", "FEATURE_TYPE_HIGH_NUMBER_VALUES", 2, "[1, 2]"),
        ("shape { dim { size: 2 } }", "INVALID_FEATURE_SHAPE", 2, "[]"),
    ],
)
def test_validate_examples_with_another_number_of_values(
    tmp_path: Path, bound: str, type_: str, rows: int, example: str
) -> None:
    lists = pa.array([[1, 2], [], [1, 2], None], pa.list_(pa.int64()))
    found = only(validate(tmp_path, f'feature {{ name: "x" type: INT {bound} }}', {"x": lists}), type_)
    assert (found.rows, found.example) == (rows, example)


def test_validate_examples_counts_rows_not_values_of_lists(tmp_path: Path) -> None:
    lists = pa.array([[9, 9, 1], [9], [1]], pa.list_(pa.int64()))
    schema = 'feature { name: "x" type: INT value_count { min: 1 } int_domain { max: 5 } }'
    found = only(validate(tmp_path, schema, {"x": lists}), "INT_TYPE_BIG_INT")
    assert (found.rows, found.example) == (2, "9")


@pytest.mark.parametrize(
    ("limits", "type_"), [("min: 4 max: 9", "FEATURE_TYPE_LOW_UNIQUE"), ("min: 1 max: 2", "FEATURE_TYPE_HIGH_UNIQUE")]
)
def test_validate_examples_with_another_number_of_distinct_values(tmp_path: Path, limits: str, type_: str) -> None:
    schema = f'feature {{ name: "x" type: BYTES unique_constraints {{ {limits} }} }}'
    assert only(validate(tmp_path, schema, {"x": ["a", "b", "c"]}), type_).severity == "ERROR"


def test_validate_examples_without_any_row_in_a_split_says_so(tmp_path: Path) -> None:
    found = validate(tmp_path, 'feature { name: "x" type: INT }', {"x": [1]}, {"x": pa.array([], pa.int64())})
    anomaly = only(found, "NO_DATA_IN_SPAN", "eval")
    assert anomaly.feature == ""
    assert "The split eval has no examples: of 1 rows 1 are for training, 0 for evaluation" in anomaly.description


@pytest.mark.parametrize(
    ("limit", "type_", "fix"),
    [
        ("min_examples_count: 3", "DATASET_LOW_NUM_EXAMPLES", "bring the rest of the data"),
        ("max_examples_count: 1", "DATASET_HIGH_NUM_EXAMPLES", "correct the data"),
    ],
)
def test_validate_examples_of_another_size_than_the_schema_asks_for(
    tmp_path: Path, limit: str, type_: str, fix: str
) -> None:
    schema = f'feature {{ name: "x" type: INT }} dataset_constraints {{ {limit} }}'
    found = only(validate(tmp_path, schema, {"x": [1, 2]}), type_)
    assert (found.rows, found.bound) == (2, f"{limit} in each split")
    assert found.fix.startswith(fix)
    assert f"`{limit.partition(':')[0]}: 2`" in found.fix


@pytest.mark.parametrize(
    ("limit", "before", "type_"),
    [
        ("min_fraction_threshold: 0.5", 5, "COMPARATOR_LOW_NUM_EXAMPLES"),
        ("max_fraction_threshold: 1.5", 1, "COMPARATOR_HIGH_NUM_EXAMPLES"),
        ("min_fraction_threshold: 0.5 max_fraction_threshold: 1.5", 4, None),
    ],
)
def test_validate_examples_of_another_size_than_in_the_run_before(
    tmp_path: Path, limit: str, before: int, type_: str | None
) -> None:
    bound = f"dataset_constraints {{ num_examples_drift_comparator {{ {limit} }} }}"
    schema = f'feature {{ name: "x" type: INT }} {bound}'
    found = validate(tmp_path, schema, {"x": [1, 2]}, previous={"x": [1] * before})
    assert [(one.type, one.split, one.severity) for one in found.anomalies] == (
        [(type_, "train", "ERROR")] if type_ else []
    )
    for one in found.anomalies:
        assert f"There are 2 examples, {before} in the run before" in one.description


@pytest.mark.parametrize("values", [[1, 2, None], ["a", "bcd", None]])
@pytest.mark.parametrize(
    ("asked", "type_", "rows"),
    [
        ("value_count { min: 2 }", "FEATURE_TYPE_LOW_NUMBER_VALUES", 2),
        ("shape { dim { size: 3 } }", "INVALID_FEATURE_SHAPE", 3),
    ],
)
def test_validate_examples_of_single_values_where_lists_are_asked_for_counts_rows(
    tmp_path: Path, values: list[Any], asked: str, type_: str, rows: int
) -> None:
    kind = "INT" if values[0] == 1 else "BYTES"
    found = validate(tmp_path, f'feature {{ name: "x" type: {kind} {asked} }}', {"x": values})
    assert only(found, type_).rows == rows


@pytest.mark.parametrize(
    ("values", "type_", "rows", "example"),
    [([1.0, math.inf, -math.inf, 2.0], "FLOAT_TYPE_HAS_INF", 2, "-inf"),
     ([1.0, 1e300, 2.0, -1e39], "FLOAT_TYPE_BIG_FLOAT", 2, "-1e+39")],
)  # fmt: skip
def test_validate_what_float32_cannot_hold_is_an_anomaly_of_the_column(
    tmp_path: Path, values: list[float], type_: str, rows: int, example: str
) -> None:
    found = only(validate(tmp_path, 'feature { name: "x" type: FLOAT }', {"x": values}), type_)
    assert (found.feature, found.severity, found.rows, found.example) == ("x", "ERROR", rows, example)


@pytest.mark.parametrize("allowed", ["float_domain { disallow_inf: false }", 'not_in_environment: "SERVING"'])
def test_validate_infinity_passes_where_the_schema_allows_it_or_no_model_sees_it(tmp_path: Path, allowed: str) -> None:
    schema = f'feature {{ name: "x" type: FLOAT {allowed} }}'
    assert not validate(tmp_path, schema, {"x": [1.0, math.inf, 1e300]}).anomalies
