"""A form is made of the schema, of what training counted, and of real rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.predict_page.describe import describe_field, form_of_version, typical_of
from serving.predict_page.form import Field
from slipway.data.schema import parse_schema
from slipway.data.tensors import DType, serialize_examples
from slipway.errors import StoreError
from slipway.evaluation.golden import Golden, write_golden
from slipway.module_api import Label, ModuleConfig
from slipway.monitoring.baseline import Baseline
from slipway.monitoring.counts import Counts, choose_cells, count
from slipway.stores.model_store import open_store
from tests.model_files import provenance, write_model
from tests.served_models import read_inputs, rows

SCHEMA = parse_schema("""
feature { name: "fare" type: FLOAT value_count { min: 1 max: 1 } float_domain { min: 0 }
          annotation { tag: "unit=USD" comment: "Without the tip." } }
feature { name: "month" type: INT int_domain { min: 1 max: 12 } presence { min_fraction: 1 } }
feature { name: "paid" type: INT bool_domain {} }
feature { name: "payment" type: BYTES domain: "ways" distribution_constraints { min_domain_mass: 0.99 } }
feature { name: "area" type: BYTES domain: "ways" }
feature { name: "since" type: INT time_domain { integer_format: UNIX_SECONDS } }
feature { name: "day" type: BYTES }
feature { name: "picture" type: INT shape { dim { size: 2 } dim { size: 2 } dim { size: 1 } } }
string_domain { name: "ways" value: "Cash" value: "Card" }
""")


def field(name: str, counts: Counts | None = None, **row: object) -> Field:
    [feature] = (one for one in SCHEMA.feature if one.name == name)
    return describe_field(feature, SCHEMA, counts, [row] if row else [])


def counted(values: list[object]) -> Counts:
    column = pa.array(values)
    return count(column, choose_cells(column))


def test_describe_field_takes_unit_text_and_bounds_of_the_schema() -> None:
    fare = field("fare")
    assert (fare.unit, fare.description, fare.low, fare.high) == ("USD", "Without the tip.", 0.0, None)
    assert (fare.required, field("month").required) == (False, True)


def test_describe_field_takes_choices_of_domains() -> None:
    assert (field("payment").choices, field("payment").is_open) == (("Cash", "Card"), True)
    assert (field("area").choices, field("area").is_open) == (("Cash", "Card"), False)
    assert field("month").choices == tuple(map(str, range(1, 13)))
    assert field("paid").choices == ("1", "0")


def test_describe_field_takes_frequent_values_where_there_is_no_domain() -> None:
    seen = field("day", counted(["Mon", "Tue", "Mon", None, "Tue", "Mon"]))
    assert (seen.choices, seen.is_open, seen.saw_missing, seen.typical) == (("Mon", "Tue"), True, True, "Mon")
    unique = field("day", counted([f"name {number}" for number in range(50)]))
    assert (unique.choices, unique.kind) == ((), "text")


@pytest.mark.parametrize(
    ("text", "kind"), [("2024-02-29", "date"), ("2024-02-29 10:00:00", "time"), ("29 February", "text")]
)
def test_describe_field_tells_a_date_by_how_rows_write_it(text: str, kind: str) -> None:
    assert field("day", None, day=text).kind == kind


def test_describe_field_tells_times_and_images_by_the_schema() -> None:
    assert (field("since").kind, field("since").moment, field("picture").kind) == ("time", "seconds", "image")


def test_describe_field_without_counts_does_not_know_what_training_saw() -> None:
    assert field("fare").saw_missing is None
    assert field("fare", counted([1.0, 2.0])).saw_missing is False


@settings(deadline=None)
@given(st.lists(st.floats(-1000, 1000, width=16), min_size=1, max_size=60))
def test_typical_of_numbers_is_their_median(values: list[float]) -> None:
    median = np.quantile(values, 0.5, method="inverted_cdf")
    assert float(typical_of(counted([*values, None]), "float32")[0]) == pytest.approx(median, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "dtype", "typical"),
    [
        ([1, 1, 1, 2, 12, 12, 12, 12, None], "int64", ("2", "12")),
        ([9, 10, 10], "int64", ("10", "9")),
        ([7, 7], "int64", ("7", "")),
        (["Cash", "Card", "Cash", None], "string", ("Cash", "Card")),
        ([None, None], "int64", ("", "")),
    ],
)
def test_typical_of_few_values_has_the_median_or_most_frequent_and_the_next(
    values: list[Any], dtype: DType, typical: tuple[str, str]
) -> None:
    assert typical_of(counted(values), dtype) == typical


def pushed(tmp_path: Path, schema: Path | None, baseline: str = "") -> tuple[object, object]:
    source = write_model(tmp_path / "model")
    examples = serialize_examples(rows(8), read_inputs())
    write_golden(Golden.of(examples, [0.0] * 8), source)
    origin = provenance().model_copy(update={"artifacts": {"schema": str(schema)} if schema else {}})
    store = open_store(str(tmp_path / "store"))
    return store, store.push(source, origin, baseline).version


def test_form_of_version_has_question_label_and_real_rows(tmp_path: Path) -> None:
    served = 'feature { name: "size" type: FLOAT } feature { name: "town" type: BYTES } default_environment: "SERVING"'
    unserved = 'feature { name: "label" type: INT not_in_environment: "SERVING" }'
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text(f"{served} {unserved}")
    features = {"size": counted([1.0, None]), "town": counted(["Ulm", "Ulm", "Bonn", "Bonn"])}
    baseline = Baseline(rows=4, features=features, label="label", labels=counted([0, 1])).model_dump_json()
    store, version = pushed(tmp_path, tmp_path / "schema", baseline)
    config = ModuleConfig(contract=1, task="binary", label=Label(column="label"), description="Is it?")
    form = form_of_version(store, version, config)  # type: ignore[arg-type]
    assert (form.model, form.question, form.label) == ("taxi", "Is it?", "label")
    assert [one.name for one in form.fields] == ["size", "town"]
    assert (form.fields[0].saw_missing, form.fields[1].saw_missing) == (True, False)
    assert form.rows
    assert all(row.keys() == {"size", "town"} for row in form.rows)
    assert all(form.read(row)[1] == {} for row in form.rows)
    assert all(form.rows[0].values())  # the row with the most values comes first


def test_form_of_version_whose_schema_is_gone_says_so(tmp_path: Path) -> None:
    store, version = pushed(tmp_path, tmp_path / "gone")
    with pytest.raises(StoreError, match="schema"):
        form_of_version(store, version, None)  # type: ignore[arg-type]
