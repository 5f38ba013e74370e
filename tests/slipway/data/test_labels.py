from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from slipway.data.labels import encode_labels
from slipway.errors import DataError


@pytest.mark.parametrize(
    "values",
    [
        pa.array([True, False, True]),
        pa.array([1, 0, 1]),
        pa.array([1.0, 0.0, 1.0]),
        np.array([1, 0, 1]),
        ["true", "false", "true"],
        pa.chunked_array([[True], [False, True]]),
    ],
)
def test_encode_labels_binary_forms_become_zero_and_one(values: Any) -> None:
    encoded = encode_labels(values, "binary", ("false", "true"))
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [1, 0, 1]


def test_encode_labels_binary_strings_follow_the_class_order() -> None:
    assert encode_labels(["no", "yes"], "binary", ("no", "yes")).tolist() == [0, 1]
    assert encode_labels([True, False], "binary", ("no", "yes")).tolist() == [1, 0]
    assert encode_labels(pa.array([b"yes"]), "binary", ("no", "yes")).tolist() == [1]


def test_encode_labels_binary_numeric_classes_take_no_other_number() -> None:
    assert encode_labels([2, 1], "binary", ("1", "2")).tolist() == [1, 0]
    with pytest.raises(DataError, match=r"label value 0 is none of the classes 1, 2"):
        encode_labels([0, 1], "binary", ("1", "2"))


def test_encode_labels_multiclass_gives_indices() -> None:
    encoded = encode_labels(pa.array([3.0, 5.0, 3.0]), "multiclass", ("5", "3", "9"))
    assert encoded.dtype == np.int64
    assert encoded.tolist() == [1, 0, 1]
    assert encode_labels(pa.chunked_array([["b"], ["a", "c"]]), "multiclass", ("a", "b", "c")).tolist() == [
        1,
        0,
        2,
    ]


def test_encode_labels_unknown_class_is_named() -> None:
    with pytest.raises(DataError, match=r"label value 'fox' is none of the classes cat, dog.*module\.yaml"):
        encode_labels(["cat", "fox"], "multiclass", ("cat", "dog"))


def test_encode_labels_missing_label_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 labels are missing"):
        encode_labels([1, None], "binary", ("false", "true"))


def test_encode_labels_regression_wants_finite_numbers() -> None:
    encoded = encode_labels([1, 2, 3], "regression", ())
    assert encoded.dtype == np.float32
    with pytest.raises(DataError, match="1 of 2 labels are NaN or infinite"):
        encode_labels([1.0, float("nan")], "regression", ())
    with pytest.raises(DataError, match="this one is string"):
        encode_labels(["1"], "regression", ())


def test_encode_labels_of_no_rows_is_empty() -> None:
    assert encode_labels(pa.chunked_array([], pa.string()), "multiclass", ("a", "b")).tolist() == []
