from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.data.schema import parse_schema
from slipway.data.tensors import MISSING_INT, list_columns, raw_inputs, serialize_examples
from slipway.errors import ConfigError, DataError
from tests.asked import Asked

FEATURES = parse_schema("""
    feature { name: "f" type: FLOAT }
    feature { name: "i" type: INT value_count { min: 1 max: 1 } }
    feature { name: "s" type: BYTES value_count { min: 0 max: 1 } }
    feature { name: "l" type: INT value_count { min: 0 max: 5 } }
    feature { name: "x" type: FLOAT shape { dim { size: 2 } } }
""").feature
TABLE = pa.table(
    {
        "f": [1.5, None, float("nan")],
        "i": [1, 2, None],
        "s": ["a", "", None],
        "l": [[1, 2], None, []],
        "x": [[1.0, 2.0], None, [None, 6.0]],
        "unknown": [1, 2, 3],
    }
)


def parse(examples: list[bytes]) -> list[dict[str, list[Any]]]:
    from tensorflow.core.example import example_pb2

    def values(feature: Any) -> list[Any]:
        kind = feature.WhichOneof("kind")
        return list(getattr(feature, kind).value) if kind else []

    parsed = [example_pb2.Example.FromString(example) for example in examples]
    return [{name: values(feature) for name, feature in example.features.feature.items()} for example in parsed]


def test_raw_inputs_missing_values_become_markers() -> None:
    raw = raw_inputs(TABLE, FEATURES)
    np.testing.assert_array_equal(raw["f"], np.array([1.5, np.nan, np.nan], np.float32))
    np.testing.assert_array_equal(raw["i"], [1, 2, MISSING_INT])
    assert raw["s"].tolist() == [b"a", b"", b""]
    np.testing.assert_array_equal(raw["l"], [[1, 2], [MISSING_INT] * 2, [MISSING_INT] * 2])
    np.testing.assert_array_equal(raw["x"], np.array([[1, 2], [np.nan] * 2, [np.nan, 6]], np.float32))
    assert {name: array.dtype.kind for name, array in raw.items()} == {"f": "f", "i": "i", "s": "O", "l": "i", "x": "f"}


def test_raw_inputs_absent_column_is_missing_everywhere() -> None:
    raw = raw_inputs(TABLE.select(["i"]), FEATURES)
    assert np.isnan(raw["f"]).all()
    assert raw["l"].shape == (3, 1)
    assert raw["x"].shape == (3, 2)


def test_raw_inputs_without_rows_are_empty() -> None:
    raw = raw_inputs(TABLE.slice(0, 0), FEATURES)
    assert {name: array.shape for name, array in raw.items()} == {
        "f": (0,), "i": (0,), "s": (0,), "l": (0, 1), "x": (0, 2),
    }  # fmt: skip


def test_raw_inputs_record_batch_equals_its_table() -> None:
    batch = TABLE.slice(1).combine_chunks().to_batches()[0]
    for name, values in raw_inputs(batch, FEATURES).items():
        np.testing.assert_array_equal(values, raw_inputs(TABLE.slice(1), FEATURES)[name])


def test_serialize_examples_keeps_values_and_leaves_missing_ones_empty() -> None:
    first, second, third = parse(serialize_examples(TABLE, FEATURES))
    assert first == {"f": [1.5], "i": [1], "s": [b"a"], "l": [1, 2], "x": [1.0, 2.0]}
    assert second["f"] == second["s"] == second["l"] == third["i"] == []
    assert np.isnan(second["x"]).all()


def test_list_columns_value_that_does_not_fit_the_schema_names_the_column() -> None:
    with pytest.raises(DataError, match="'i' is double in the data but int64 in the schema"):
        list_columns(pa.table({"i": [1.5]}), FEATURES)
    with pytest.raises(DataError, match="'f' is string"):
        list_columns(pa.table({"f": ["twelve"]}), FEATURES)


def test_list_columns_wrong_length_of_a_fixed_shape_names_the_row() -> None:
    with pytest.raises(DataError, match="'x' has 3 values in row 1; the schema says 2"):
        list_columns(pa.table({"x": [[1.0, 2.0], [1.0, 2.0, 3.0]]}), FEATURES)


def test_raw_inputs_several_values_where_one_is_allowed_name_the_row() -> None:
    with pytest.raises(DataError, match="'i' has 2 values in row 1"):
        raw_inputs(pa.table({"i": [[1], [2, 3]]}), FEATURES)


def test_list_columns_feature_without_type_says_what_is_needed() -> None:
    schema = parse_schema('feature { name: "odd" }')
    with pytest.raises(ConfigError, match="'odd' needs a type"):
        list_columns(pa.table({"odd": [1]}), schema.feature)


@given(st.lists(st.one_of(st.none(), st.integers(MISSING_INT + 1, 2**63 - 1)), max_size=20), st.integers(1, 7))
def test_list_columns_any_chunking_gives_the_same(values: list[int | None], size: int) -> None:
    whole = pa.table({"i": pa.array(values, pa.int64())})
    chunks = [whole.slice(start, size) for start in range(0, len(values), size)] or [whole]
    expected = [MISSING_INT if value is None else value for value in values]
    assert raw_inputs(pa.concat_tables(chunks), FEATURES)["i"].tolist() == expected


def test_names_of_a_wide_table_are_asked_for_once() -> None:
    """Arrow makes the list of all names anew each time."""
    features = parse_schema("\n".join(f'feature {{ name: "c{place}" type: INT }}' for place in range(200))).feature
    table = Asked(pa.table({feature.name: [1] for feature in features}))
    assert list_columns(table, features).num_columns == 200
    assert table.counts["column_names"] == 1
