import pyarrow as pa
import pytest

from slipway.errors import ConfigError
from slipway.evaluation.slices import check_columns, slice_rows

TABLE = pa.table(
    {
        "payment": pa.chunked_array([["Cash", None], ["Card", "Cash", ""]]),
        "hour": pa.array([7, 8, 7, None, 7]),
        "miles": pa.array([1.5, float("nan"), 2.0, None, 1.5]),
        "shared": pa.array([True, False, None, True, True]),
        "tags": pa.array([["a"], [], ["b"], ["c"], None]),
        "blank": pa.nulls(5, pa.string()),
    }
)


def counts(*columns: str) -> dict[tuple[str | None, ...], int]:
    (slicing,) = slice_rows(TABLE, [columns])
    assert len(slicing.codes) == 5
    return {value: int((slicing.codes == index).sum()) for index, value in enumerate(slicing.values)}


def test_slice_rows_missing_values_are_a_slice_of_their_own() -> None:
    assert counts("payment") == {("Cash",): 2, ("Card",): 1, (None,): 2}
    assert counts("miles") == {("1.5",): 2, ("2.0",): 1, (None,): 2}
    assert counts("blank") == {(None,): 5}


def test_slice_rows_numbers_and_booleans_are_spelled() -> None:
    assert counts("hour") == {("7",): 3, ("8",): 1, (None,): 1}
    assert counts("shared") == {("true",): 3, ("false",): 1, (None,): 1}


def test_slice_rows_cross_holds_only_what_occurs() -> None:
    assert counts("payment", "hour") == {
        ("Cash", "7"): 1,
        (None, "8"): 1,
        ("Card", "7"): 1,
        ("Cash", None): 1,
        (None, "7"): 1,
    }


def test_slice_rows_of_no_rows_have_no_slices() -> None:
    (slicing,) = slice_rows(TABLE.slice(0, 0), [("payment", "hour")])
    assert slicing.values == []


def test_check_columns_unknown_column_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"slice column 'paiment' is not in the data; did you mean 'payment'\?"):
        check_columns(["paiment"], TABLE.schema)


def test_check_columns_list_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="slice column 'tags' holds lists"):
        check_columns(["tags"], TABLE.schema)
