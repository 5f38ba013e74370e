"""What is found in the data before anything is predicted: what ends the job, what is set aside, what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from serving.batch.rules import Rules, Tally
from serving.batch.steps import validate
from slipway.data.schema import parse_schema
from slipway.errors import AnomalyError
from tests.asked import Asked
from tests.batch_jobs import Batch, quarantined, read, table, with_values, write_csv


def test_rows_that_cannot_be_read_go_to_quarantine_with_their_line(batch: Batch, tmp_path: Path) -> None:
    data = write_csv(table(400), tmp_path / "rows.csv")
    lines = data.read_text().splitlines()
    lines[3] = "000002,much,2,Ulm"
    lines[201] = "a,b"
    data.write_text("\n".join(lines) + "\n")
    manifest = batch.run(data, tmp_path / "out")

    assert (manifest.rows, manifest.predicted, manifest.quarantined) == (400, 398, 2)
    found = {one["line"]: one for one in quarantined(tmp_path / "out")}
    assert found.keys() == {4, 202}
    assert "size" in found[4]["reason"]
    assert "'much' is not a number" in found[4]["reason"]
    assert found[4]["file"] == str(data)
    assert "000002" not in read(tmp_path / "out")["id"].to_pylist()
    assert any("2 of 400 rows" in one for one in manifest.warnings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("town", "Rome", "town: 'Rome' is not one of the 3 values of its domain"),
        ("size", 101.0, "size: 101.0 is not at most 100"),
        ("size", float("inf"), "size: inf is not a finite number of 32 bits"),
    ],
)
def test_rows_that_break_the_schema_go_to_quarantine(
    batch: Batch, tmp_path: Path, name: str, value: Any, said: str
) -> None:
    data = tmp_path / "rows.parquet"
    pq.write_table(with_values(table(500), name, {7: value, 411: value}), data, row_group_size=100)
    manifest = batch.run(data, tmp_path / "out")
    assert (manifest.predicted, manifest.quarantined) == (498, 2)
    rows = quarantined(tmp_path / "out")
    assert [one["line"] for one in rows] == [8, 412]
    assert all(said in one["reason"] for one in rows)
    assert read(tmp_path / "out")["id"].to_pylist() == [f"{n:06d}" for n in range(500) if n not in (7, 411)]


def test_a_text_in_a_column_of_numbers_of_parquet_goes_to_quarantine(batch: Batch, tmp_path: Path) -> None:
    rows = table(300)
    texts = [None if one is None else str(one) for one in rows["rooms"].to_pylist()]
    texts[5] = "many"
    pq.write_table(rows.set_column(2, "rooms", [texts]), tmp_path / "rows.parquet")
    manifest = batch.run(tmp_path / "rows.parquet", tmp_path / "out")
    assert manifest.quarantined == 1
    assert quarantined(tmp_path / "out")[0]["line"] == 6
    plain = read(tmp_path / "out").filter(np.array([True] * 299))
    assert plain["rooms"].to_pylist() == [one for row, one in enumerate(texts) if row != 5]  # kept as it was


def test_too_many_bad_rows_end_the_job_before_anything_is_predicted(batch: Batch, tmp_path: Path) -> None:
    data = tmp_path / "rows.parquet"
    pq.write_table(with_values(table(100), "town", {7: "Rome", 8: "Rome"}), data)
    with pytest.raises(AnomalyError, match="nothing was predicted") as caught:
        batch.run(data, tmp_path / "out")
    for said in ("2 of 100 rows", "2.00%", "1.00%", "town is not one of the 3 values of its domain", "max_quarantined"):
        assert said in str(caught.value)
    assert not list((tmp_path / "out").glob("part*"))
    batch.config = {"ingestion": {"max_quarantined": 0.05}}
    assert batch.run(data, tmp_path / "other").quarantined == 2


def test_a_column_that_training_needs_ends_the_job(batch: Batch, tmp_path: Path) -> None:
    data = tmp_path / "rows.parquet"
    pq.write_table(table(100).rename_columns(["id", "sizes", "rooms", "town"]), data)
    with pytest.raises(AnomalyError, match=r"(?s)'size'.*SCHEMA_MISSING_COLUMN.*renamed to 'sizes'"):
        batch.run(data, tmp_path / "out")


def test_a_share_of_missing_values_below_the_schemas_ends_the_job(batch: Batch, tmp_path: Path) -> None:
    data = tmp_path / "rows.parquet"
    pq.write_table(with_values(table(100), "rooms", dict.fromkeys(range(60))), data)
    with pytest.raises(AnomalyError, match=r"(?s)'rooms'.*FEATURE_TYPE_LOW_FRACTION_PRESENT.*min_fraction: 0.5"):
        batch.run(data, tmp_path / "out")


def test_drift_is_a_warning_in_the_manifest_and_on_the_page(batch: Batch, tmp_path: Path) -> None:
    from serving.batch.page import batch_page, check_page

    rows = table(3_000)
    sizes = [None if one is None else one + 1.5 for one in rows["size"].to_pylist()]
    data = tmp_path / "rows.parquet"
    pq.write_table(rows.set_column(1, "size", [sizes]), data)
    checked = validate(batch.resolve(data, tmp_path / "out"))
    manifest = batch.run(data, tmp_path / "out")
    assert manifest.predicted == 3_000
    assert [one for one in manifest.warnings if one.startswith("size drifted from training")]
    assert not [one for one in manifest.warnings if "town" in one]
    for page in (check_page(manifest.job, checked), batch_page(manifest, checked)):
        assert "drifted" in page
        assert "size" in page


def test_data_like_training_have_no_warnings(batch: Batch, tmp_path: Path) -> None:
    data = tmp_path / "rows.parquet"
    pq.write_table(table(3_000), data)
    assert batch.run(data, tmp_path / "out").warnings == []


def test_the_label_is_not_needed_and_no_harm(batch: Batch, tmp_path: Path) -> None:
    data = tmp_path / "rows.parquet"
    pq.write_table(table(50).append_column("label", [["?"] * 50]), data)
    batch.run(data, tmp_path / "out")
    assert read(tmp_path / "out")["label"].to_pylist() == ["?"] * 50


def test_of_many_reasons_a_few_are_told(batch: Batch, tmp_path: Path) -> None:
    rows = table(100)
    pq.write_table(rows.set_column(2, "rooms", [[f"many-{n}" for n in range(100)]]), tmp_path / "rows.parquet")
    with pytest.raises(AnomalyError, match="100 of 100 rows") as caught:
        batch.run(tmp_path / "rows.parquet", tmp_path / "out")
    assert str(caught.value).count("'many-") == 5


def test_a_large_bound_is_told_whole() -> None:
    rules = Rules(parse_schema('feature { name: "must" type: INT int_domain { max: 1234567 } }'))
    [found] = rules.breaches(pa.RecordBatch.from_arrays([pa.array([1234568])], ["must"]))
    assert found.bound == "at most 1234567"


RULES = """
feature { name: "must" type: INT presence { min_count: 1 min_fraction: 1 } int_domain { min: 0 max: 9 } }
feature { name: "share" type: BYTES string_domain { value: "a" } distribution_constraints { min_domain_mass: 0.5 } }
feature { name: "flag" type: INT bool_domain { } }
feature { name: "word" type: BYTES bool_domain { true_value: "y" false_value: "n" } }
feature { name: "tags" type: BYTES value_count { min: 1 max: 2 } string_domain { value: "a" value: "b" } }
feature { name: "pixels" type: INT shape { dim { size: 2 } } }
feature { name: "wide" type: FLOAT float_domain { disallow_inf: false } }
feature { name: "tenth" type: FLOAT float_domain { min: 0.1 } }
feature { name: "old" type: INT int_domain { max: 0 } lifecycle_stage: DEPRECATED }
default_environment: "SERVING"
"""


def rules_schema() -> schema_pb2.Schema:
    return parse_schema(RULES)


@pytest.mark.parametrize(
    ("name", "values", "broken"),
    [
        ("must", pa.array([1, None, 10, -1]), [1, 2, 3]),
        ("share", pa.array(["a", "b", None]), []),
        ("flag", pa.array([0, 1, 2, None]), [2]),
        ("word", pa.array(["y", "n", "x", None]), [2]),
        ("tags", pa.array([["a"], [], None, ["a", "b", "a"], ["b", "c"]]), [1, 3, 4]),
        ("pixels", pa.array([[1, 2], [1], None, [1, 2, 3]]), [1, 3]),
        ("wide", pa.array([float("inf"), 1e39, None]), []),
        ("tenth", pa.array([0.1, 0.0999, None, float("-inf")]), [1, 3]),
        ("old", pa.array([5]), []),
    ],
)
def test_rules_of_the_schema(name: str, values: pa.Array, broken: list[int]) -> None:
    found = Rules(rules_schema()).breaches(pa.RecordBatch.from_arrays([values], [name]))
    assert sorted({row for breach in found for row in breach.rows}) == broken


def test_what_training_would_refuse_of_all_rows_is_refused() -> None:
    tally = Tally(rules_schema())
    for _ in range(2):
        tally.add(pa.RecordBatch.from_arrays([pa.array(["a", "b", "b"]), pa.array([1, 2, 3])], ["share", "must"]))
    found = {(one.feature, one.type) for one in tally.anomalies([])}
    assert ("share", "ENUM_TYPE_UNEXPECTED_STRING_VALUES") in found
    assert not {one for one in found if one[0] == "must"}


def test_names_of_a_wide_batch_are_asked_for_once() -> None:
    """Arrow makes the list of all names anew each time."""
    schema = parse_schema("\n".join(f'feature {{ name: "c{place}" type: INT }}' for place in range(100)))
    rows = Asked(pa.RecordBatch.from_pydict({feature.name: [1] for feature in schema.feature}))
    assert not list(Rules(schema).breaches(rows))
    assert rows.counts["schema.names"] == 1
    Tally(schema).add(rows)
    assert rows.counts["schema.names"] == 2
