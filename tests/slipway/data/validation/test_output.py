import json
import math
from pathlib import Path

import pyarrow as pa
import pytest

from slipway.data.schema import parse_schema
from slipway.data.validation.anomalies import to_anomalies
from slipway.data.validation.page import render_validation
from slipway.data.validation.report import Validation, describe_anomaly, read_validation, refusal, write_validation
from tests.slipway.data.validation.validated import validate

MIXED = """feature { name: "x" type: INT int_domain { min: 1 max: 5 } presence { min_fraction: 1 } }
           feature { name: "s" type: BYTES skew_comparator { infinity_norm { threshold: 0.9 } } }"""


def test_to_anomalies_gathers_the_reasons_of_a_feature(tmp_path: Path) -> None:
    found = validate(tmp_path, MIXED, {"x": [0, 9, None], "s": ["a"] * 3, "new": [1] * 3}, {"x": [1], "s": ["a"]})
    proto = to_anomalies(found, parse_schema(MIXED))
    info = proto.anomaly_info["x"]
    assert [info.Type.Name(reason.type) for reason in info.reason] == [
        "FEATURE_TYPE_LOW_FRACTION_PRESENT", "INT_TYPE_SMALL_INT", "INT_TYPE_BIG_INT",
    ]  # fmt: skip
    assert (info.short_description, info.severity) == ("Multiple errors", info.ERROR)
    assert list(info.path.step) == ["x"]
    assert proto.anomaly_info["new"].severity == info.WARNING
    assert proto.baseline.feature[0].name == "x"
    assert proto.drift_skew_info[0].skew_measurements[0].threshold == 0.9


def test_facts_count_and_name_the_worst_anomalies_first(tmp_path: Path) -> None:
    found = validate(tmp_path, MIXED, {"x": [0, 9, None], "s": ["a"] * 3, "new": [1] * 3}, {"x": [1], "s": ["a"]})
    facts = found.facts()
    assert (facts["errors"], facts["warnings"]) == (len(found.errors), len(found.anomalies) - len(found.errors))
    assert facts["warnings"]
    listed = [text.partition(":")[0] for text in facts["anomalies"]]
    assert listed == ["ERROR"] * facts["errors"] + ["WARNING"] * facts["warnings"]
    many = Validation(anomalies=found.anomalies * 20).facts()
    assert (many["errors"], len(many["anomalies"])) == (20 * facts["errors"], 10), "steps get it as an argument"


def test_to_anomalies_without_data_says_so(tmp_path: Path) -> None:
    found = validate(tmp_path, MIXED, {"x": pa.array([], pa.int64()), "s": pa.array([], pa.string())})
    proto = to_anomalies(found, parse_schema(MIXED))
    assert proto.data_missing
    assert proto.dataset_anomaly_info.severity == proto.dataset_anomaly_info.ERROR


def test_write_validation_with_strange_values_is_strict_json(tmp_path: Path) -> None:
    schema = 'feature { name: "x" type: FLOAT float_domain { disallow_nan: true disallow_inf: true } }'
    found = validate(tmp_path, schema, {"x": [math.nan, math.inf, 1.0]})
    write_validation(found, str(tmp_path))
    text = (tmp_path / "validation.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert read_validation(str(tmp_path)) == found


def test_describe_anomaly_says_where_how_many_and_the_fix(tmp_path: Path) -> None:
    found = validate(tmp_path, MIXED, {"x": [0, 0, 2], "s": ["a"] * 3}, {"x": [1], "s": ["a"]})
    assert describe_anomaly(found.anomalies[0]) == (
        "- feature 'x', split train: INT_TYPE_SMALL_INT: Unexpectedly small value: 0.\n"
        "  2 of 3 rows; for example '0'; the schema asks for int_domain { min: 1 }\n"
        "  Fix: correct the data, or, if the values are right, in schema.pbtxt change `min: 1` in the int_domain of "
        "feature 'x' to `min: 0`"
    )


def test_refusal_of_many_errors_lists_ten(tmp_path: Path) -> None:
    schema = "".join(f'feature {{ name: "c{index}" type: INT presence {{ min_count: 1 }} }}' for index in range(8))
    text = refusal(validate(tmp_path, schema + 'feature { name: "x" type: INT }', {"x": [1]}))
    assert text.startswith("The data has 16 anomalies; nothing was trained.\n- feature 'c0', split train")
    assert text.count("SCHEMA_MISSING_COLUMN") == 10
    assert text.endswith("- and 6 more: see the page of validate_examples, or validation.json")


def test_render_validation_shows_findings_escaped(tmp_path: Path) -> None:
    skew = "skew_comparator { infinity_norm { threshold: 0.2 } }"
    schema = f'feature {{ name: "s" type: BYTES string_domain {{ value: "a" }} {skew} }}'
    found = validate(tmp_path, schema, {"s": ["<script>"]}, {"s": ["a"]})
    page = render_validation(found)
    assert "<script>" not in page.replace("<script></script>", "")
    assert "&lt;script&gt;" in page
    assert "Unexpected string values" in page
    assert "eval with train" in page


def test_render_validation_of_clean_data_says_so() -> None:
    assert "The examples fit their schema." in render_validation(Validation())
