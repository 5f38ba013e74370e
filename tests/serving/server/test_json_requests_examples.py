"""`examples` and `context` as tf.Examples: the cases of TensorFlow Serving's `util/json_tensor_test.cc`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.protocol.errors import ServingError
from serving.protocol.json_values import parse
from serving.protocol.protos import example_pb2
from serving.server.json_requests import read_examples


def read(body: str) -> list[dict[str, tuple[str, list[Any]]]]:
    """Kind and values by feature, for each example."""
    examples = []
    for serialized in read_examples(parse(body.encode())):
        features = example_pb2.Example.FromString(serialized).features.feature
        kinds = {name: feature.WhichOneof("kind") for name, feature in features.items()}
        examples.append(
            {
                name: (kind or "", list(getattr(features[name], kind).value) if kind else [])
                for name, kind in kinds.items()
            }
        )
    return examples


def refusal(body: str) -> str:
    with pytest.raises(ServingError) as caught:
        read(body)
    return caught.value.message


def test_read_examples_types_of_features_follow_the_values() -> None:
    assert read(
        '{"examples": [{"names": ["foo", {"b64": "aGVsbG8="}], "ratings": [8.0, 9.5], "age": 20, "none": []}]}'
    ) == [
        {
            "names": ("bytes_list", [b"foo", b"hello"]),
            "ratings": ("float_list", [8.0, 9.5]),
            "age": ("int64_list", [20]),
            "none": ("", []),
        }
    ]
    assert read('{"examples": [{"mixed": [1, true, false]}]}') == [{"mixed": ("int64_list", [1, 1, 0])}]


def test_read_examples_non_finite_and_huge_floats() -> None:
    ratings = read('{"examples": [{"r": [NaN, Infinity, -Infinity, 1e300]}]}')[0]["r"][1]

    np.testing.assert_array_equal(ratings, [np.nan, np.inf, -np.inf, np.inf])


def test_read_examples_context_belongs_to_each_example() -> None:
    assert read('{"context": {"query": "pizza", "a": 1}, "examples": [{"a": 2}, {}]}') == [
        {"query": ("bytes_list", [b"pizza"]), "a": ("int64_list", [2])},
        {"query": ("bytes_list", [b"pizza"]), "a": ("int64_list", [1])},
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{}", "list of at least one value"),
        ('{"examples": {}}', "list of at least one value"),
        ('{"examples": []}', "list of at least one value"),
        ('{"examples": [[]]}', "Example must be JSON object but got JSON Array"),
        ('{"context": [], "examples": [{}]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [true]}', "Example must be JSON object but got JSON Boolean"),
        ('{"examples": [{"a": [10, null]}]}', "Feature: a has element with unexpected JSON type: Null"),
        ('{"examples": [{"a": [10, {"test": 1}]}]}', "Feature: a has element with unexpected JSON type: Object"),
        ('{"examples": [{"a": [[10], 20]}]}', "Feature: a has element with unexpected JSON type: Array"),
        ('{"examples": [{"a": [10, 10.0]}]}', "Unexpected element type in feature: a expecting type: int64"),
        ('{"examples": [{"a": ["x", 10]}]}', "Unexpected element type in feature: a expecting type: bytes"),
        ('{"examples": [{"a": 18446744073709551603}]}', "Feature: a has uint64_t element. Only int64_t is supported."),
        ('{"examples": [{"a": {"b64": "*"}}]}', "Unable to base64 decode"),
    ],
)
def test_read_examples_wrong_form_is_named(body: str, text: str) -> None:
    assert text in refusal(body)
