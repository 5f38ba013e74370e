"""How answers are written: the cases of TensorFlow Serving's `util/json_tensor_test.cc`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.protocol.errors import ServingError, invalid_argument
from serving.server.json_answers import write_classes, write_error, write_outputs, write_values


def strings(*values: bytes) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_write_outputs_of_one_tensor_are_not_named() -> None:
    outputs = {"x": np.arange(12, dtype=np.int32).reshape(2, 3, 2)}

    assert json.loads(write_outputs(outputs, True)) == {"predictions": outputs["x"].tolist()}
    assert json.loads(write_outputs(outputs, False)) == {"outputs": outputs["x"].tolist()}
    assert write_outputs({"x": np.array(3)}, False) == b'{"outputs": 3}'


def test_write_outputs_of_several_tensors_are_named() -> None:
    outputs = {
        "f%s": np.array([[1.0], [2.0]], np.float32),
        "i": np.array([[1, 2], [3, 4]]),
        "b": np.array([True, False]),
        "s": strings(b"foo", '"bär\n'.encode()),
        "s_bytes": strings(b"hello", b"\xff"),
    }

    assert json.loads(write_outputs(outputs, True)) == {
        "predictions": [
            {"f%s": [1.0], "i": [1, 2], "b": True, "s": "foo", "s_bytes": {"b64": "aGVsbG8="}},
            {"f%s": [2.0], "i": [3, 4], "b": False, "s": '"bär\n', "s_bytes": {"b64": "/w=="}},
        ]
    }
    assert json.loads(write_outputs(outputs, False)) == {
        "outputs": {
            "f%s": [[1.0], [2.0]],
            "i": [[1, 2], [3, 4]],
            "b": [True, False],
            "s": ["foo", '"bär\n'],
            "s_bytes": [{"b64": "aGVsbG8="}, {"b64": "/w=="}],
        }
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9_000_000, "9e+06"),
        (999_999, "999999.0"),
        (0.5, "0.5"),
        (0.0003, "0.0003"),
        (0.00003, "3e-05"),
        (555_557.5, "555557.5"),
        (0.2, "0.2"),
        (2, "2.0"),
        (-0.0, "-0.0"),
        (1 / 3, "0.333333343"),
        (16_777_216, "16777216.0"),
        (3.4028234e38, "3.40282347e+38"),
        (1e-45, "1.4013e-45"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_write_outputs_floats_have_tensorflow_servings_form(value: float, text: str) -> None:
    assert write_outputs({"x": np.array([value], np.float32)}, True) == f'{{"predictions": [{text}]}}'.encode()


def test_write_outputs_doubles_have_their_own_digits() -> None:
    assert write_outputs({"x": np.array([0.1, 1 / 3])}, True) == b'{"predictions": [0.1, 0.33333333333333331]}'


@given(st.lists(st.floats(width=32), min_size=1))
def test_write_outputs_floats_read_back_are_the_same(values: list[float]) -> None:
    array = np.array(values, np.float32)

    back = np.array(json.loads(write_outputs({"x": array}, True))["predictions"], np.float32)

    np.testing.assert_array_equal(back, array)


def test_write_outputs_empty_axes() -> None:
    assert write_outputs({"x": np.zeros((0, 2), np.int32)}, True) == b'{"predictions": []}'
    assert write_outputs({"x": np.zeros((2, 0), np.int32)}, False) == b'{"outputs": [[], []]}'
    assert write_outputs({"x": np.zeros((2, 2, 0)), "y": np.zeros(2)}, True) == (
        b'{"predictions": [{"x": [[], []], "y": 0.0}, {"x": [[], []], "y": 0.0}]}'
    )


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"x": np.array(1)}, "one batch size. Got: {'x': ()}"),
        ({"x": np.ones(2), "y": np.ones(1)}, "one batch size. Got: {'x': (2,), 'y': (1,)}"),
        ({"x": np.ones(2, np.complex64)}, "Failed to write JSON value for tensor type: complex64"),
        ({"x": np.ones(2, np.float16)}, "Failed to write JSON value for tensor type: float16"),
    ],
)
def test_write_outputs_what_rows_cannot_hold_is_refused(outputs: dict[str, Any], text: str) -> None:
    with pytest.raises(ServingError) as caught:
        write_outputs(outputs, True)

    assert text in caught.value.message


def test_write_classes_pairs_labels_and_scores() -> None:
    labels = strings(b"car", b"bike", b"car", b"bike").reshape(2, 2)
    scores = np.array([[0.2, 0.8], [1.0, 0.0]], np.float32)

    assert write_classes(labels, scores) == (
        b'{"results": [[["car", 0.2], ["bike", 0.8]], [["car", 1.0], ["bike", 0.0]]]}'
    )
    assert write_classes(labels[:1], None) == b'{"results": [[["car", 0.0], ["bike", 0.0]]]}'
    assert write_classes(None, scores[:1]) == b'{"results": [[["", 0.2], ["", 0.8]]]}'


def test_write_values_lists_them() -> None:
    values = np.array([0.2, np.inf, 1.0, -np.inf, np.nan], np.float32)

    assert write_values(values) == b'{"results": [0.2, Infinity, 1.0, -Infinity, NaN]}'


def test_write_results_without_any_are_refused() -> None:
    with pytest.raises(ServingError, match="Cannot convert empty ClassificationResults to JSON"):
        write_classes(None, np.zeros((0, 2), np.float32))
    with pytest.raises(ServingError, match="Cannot convert empty RegressionResults to JSON"):
        write_values(np.zeros(0, np.float32))


def test_write_error_is_json_whatever_the_text() -> None:
    assert json.loads(write_error(invalid_argument('Bad "key"\n\ud800'))) == {"error": 'Bad "key"\n?'}
