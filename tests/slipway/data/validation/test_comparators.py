from pathlib import Path

import pytest

from slipway.data.schema import parse_schema
from slipway.data.statistics.compute import compute_statistics
from slipway.data.validation.validate import validate_examples
from tests.example_artifacts import write_examples
from tests.slipway.data.validation.validated import ENVIRONMENTS, only, validate

LINF = "{ infinity_norm { threshold: 0.2 } }"
JS = "{ jensen_shannon_divergence { threshold: 0.2 } }"


def test_validate_examples_drifted_by_l_infinity(tmp_path: Path) -> None:
    # a: 3/4 now, 1/4 before.
    schema = f'feature {{ name: "s" type: BYTES drift_comparator {LINF} }}'
    found = validate(tmp_path, schema, {"s": ["a"] * 3 + ["b"]}, previous={"s": ["a"] + ["b"] * 3})
    anomaly = only(found, "COMPARATOR_L_INFTY_HIGH")
    assert anomaly.short == "High Linfty distance between current and previous"
    assert "is 0.5, above the threshold 0.2" in anomaly.description
    assert anomaly.description.endswith(": a")
    assert (anomaly.example, anomaly.bound) == ("a", "drift_comparator { infinity_norm { threshold: 0.2 } }")
    assert [(one.kind, one.measure, one.value) for one in found.comparisons] == [("drift", "L_INFTY", 0.5)]


@pytest.mark.parametrize("source", ["", "source { type: QUANTILES }"])
def test_validate_examples_drifted_by_jensen_shannon(tmp_path: Path, source: str) -> None:
    js = f"{{ jensen_shannon_divergence {{ threshold: 0.2 {source} }} }}"
    schema = f'feature {{ name: "x" type: FLOAT drift_comparator {js} }}'
    now, before = [float(i) for i in range(100)], [float(i) for i in range(1000, 1100)]
    found = validate(tmp_path, schema, {"x": now}, previous={"x": before})
    anomaly = only(found, "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH")
    assert "between current and previous is 1, above the threshold 0.2" in anomaly.description
    assert "to `threshold: 1`" in anomaly.fix


def test_validate_examples_within_the_threshold_records_the_distance(tmp_path: Path) -> None:
    schema = f'feature {{ name: "x" type: FLOAT drift_comparator {JS} }}'
    values = [float(i) for i in range(100)]
    found = validate(tmp_path, schema, {"x": values}, previous={"x": [*values, 99.0]})
    assert found.anomalies == []
    assert 0 <= found.comparisons[0].value < 0.05


def test_validate_examples_skewed_compares_eval_with_train(tmp_path: Path) -> None:
    schema = f'feature {{ name: "s" type: BYTES skew_comparator {LINF} }}'
    found = only(validate(tmp_path, schema, {"s": ["a"]}, {"s": ["b"]}), "COMPARATOR_L_INFTY_HIGH", "eval")
    assert found.short == "High Linfty distance between eval and train"


def test_validate_examples_with_a_feature_new_since_the_run_before_warns(tmp_path: Path) -> None:
    schema = f'feature {{ name: "s" type: BYTES drift_comparator {LINF} }}'
    found = validate(tmp_path, schema, {"s": ["a"], "t": ["a"]}, previous={"t": ["a"]})
    found.anomalies = [one for one in found.anomalies if one.type != "SCHEMA_NEW_COLUMN"]
    assert only(found, "COMPARATOR_CONTROL_DATA_MISSING").severity == "WARNING"


def test_validate_examples_whose_run_before_is_deleted_warns(tmp_path: Path) -> None:
    write_examples(tmp_path, {"x": [1]})
    schema = parse_schema(f'feature {{ name: "x" type: INT }} {ENVIRONMENTS}')
    found = validate_examples(tmp_path, compute_statistics(tmp_path), schema, str(tmp_path / "deleted"))
    assert [(one.type, one.severity) for one in found.anomalies] == [("COMPARATOR_CONTROL_DATA_MISSING", "WARNING")]
