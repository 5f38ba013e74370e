"""The cases of TensorFlow Serving's `util/json_tensor_test.cc`, and those that a server in Python has to mind."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf, isnan
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.protocol.errors import ServingError
from serving.protocol.json_values import parse, shown
from serving.server.json_requests import read_inputs
from tests.properties import examples

FLOAT, DOUBLE, INT32, UINT8, INT16, INT8, STRING, INT64, BOOL, HALF, UINT32, UINT64 = (
    1, 2, 3, 4, 5, 6, 7, 9, 10, 19, 22, 23
)  # fmt: skip
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def read(body: str | bytes, **dtypes: int) -> dict[str, Any]:
    arrays, _ = read_inputs(parse(body.encode() if isinstance(body, str) else body), dtypes)
    return {name: array.tolist() for name, array in arrays.items()}


def refusal(body: str | bytes, **dtypes: int) -> str:
    with pytest.raises(ServingError) as caught:
        read(body, **(dtypes or {"x": INT32}))
    assert caught.value.code is INVALID
    return caught.value.message


def test_read_inputs_rows_of_one_input_need_no_name() -> None:
    arrays, row_format = read_inputs(parse(b'{"instances": [[1,2],[3,4],[5,6]]}'), {"x": INT32})

    assert row_format
    assert arrays["x"].dtype == np.int32
    assert arrays["x"].shape == (3, 2)
    assert read('{"instances": [{"x": [1]}, {"x": [2]}]}', x=INT32) == {"x": [[1], [2]]}


def test_read_inputs_columns_of_one_input_need_no_name() -> None:
    arrays, row_format = read_inputs(parse(b'{"inputs": [[[1,2],[3,4],[5,6]]]}'), {"x": INT32})

    assert not row_format
    assert arrays["x"].shape == (1, 3, 2)
    assert read('{"inputs": {"x": [1]}}', x=INT32) == {"x": [1]}
    assert read('{"inputs": 1}', x=INT32) == {"x": 1}
    assert read_inputs(parse(b'{"inputs": []}'), {"x": INT32})[0]["x"].shape == (0,)


@pytest.mark.parametrize("dtype", [FLOAT, DOUBLE])
def test_read_inputs_numbers_of_any_form_make_floats(dtype: int) -> None:
    assert read('{"instances": [1, 2.0, -3, 0.5, 1e2]}', x=dtype) == {"x": [1.0, 2.0, -3.0, 0.5, 100.0]}
    assert read('{"instances": [1e300]}', x=FLOAT) == {"x": [float("inf")]}


def test_read_inputs_several_types_in_rows() -> None:
    body = """{"instances": [
        {"i": [[1,2],[3,4],[5,6]], "s": ["foo", "bar"], "f": [1.0, NaN], "d": [-Infinity], "b": true},
        {"i": [[7,8],[9,0],[1,2]], "s": ["baz", "b\\u00e4t"], "f": [2.0, Infinity], "d": [2.0], "b": false}]}"""
    arrays, _ = read_inputs(parse(body.encode()), {"i": INT32, "s": STRING, "f": FLOAT, "d": DOUBLE, "b": BOOL})

    assert arrays["i"].shape == (2, 3, 2)
    assert arrays["s"].tolist() == [[b"foo", b"bar"], [b"baz", "bät".encode()]]
    np.testing.assert_array_equal(arrays["f"], np.array([[1, np.nan], [2, np.inf]], np.float32))
    np.testing.assert_array_equal(arrays["d"], np.array([[-np.inf], [2]]))
    assert arrays["b"].tolist() == [True, False]


def test_read_inputs_base64_is_decoded() -> None:
    assert read('{"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}', x=STRING) == {"x": [b"hello", b"world"]}
    assert read('{"instances": [[{"b64": "aGVsbG8="}], ["world"]]}', x=STRING) == {"x": [[b"hello"], [b"world"]]}
    assert read('{"instances": [{"x": {"b64": "/w=="}}]}', x=STRING) == {"x": [b"\xff"]}
    assert read('{"inputs": {"b64": "aGVsbG8="}}', x=STRING) == {"x": b"hello"}
    # absl takes it without padding and with white space.
    assert read('{"instances": [{"b64": "aGVs bG8\\n"}]}', x=STRING) == {"x": [b"hello"]}


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        (INT32, [-(2**31), 2**31 - 1], [2**31, -(2**31) - 1]),
        (INT64, [-(2**63), 2**63 - 1], [2**63, -(2**63) - 1, 10**30]),
        (UINT32, [0, 2**32 - 1], [-1, 2**32]),
        (UINT64, [0, 2**64 - 1], [-1, 2**64]),
    ],
)
def test_read_inputs_integers_keep_to_their_range(dtype: int, good: list[int], bad: list[int]) -> None:
    assert read(json.dumps({"instances": good}), x=dtype) == {"x": good}
    for value in bad:
        assert "is not of expected type: " in refusal(json.dumps({"instances": [value]}), x=dtype)


def test_read_inputs_small_integers_are_cut_as_tensorflow_cuts_them() -> None:
    for dtype, numpy_type in ((UINT8, np.uint8), (INT8, np.int8), (INT16, np.int16)):
        array = read_inputs(parse(b'{"instances": [1, 300]}'), {"x": dtype})[0]["x"]
        np.testing.assert_array_equal(array, np.array([1, 300], np.int32).astype(numpy_type))


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        ('"a"', FLOAT, 'JSON Value: "a" Type: String is not of expected type: float'),
        ("1.5", INT64, "JSON Value: 1.5 Type: Number is not of expected type: int64"),
        ("2.0", INT32, "JSON Value: 2.0 Type: Number is not of expected type: int32"),
        ("1", STRING, "JSON Value: 1 Type: Number is not of expected type: string"),
        ("null", FLOAT, "JSON Value: null Type: Null is not of expected type: float"),
        ("true", FLOAT, "JSON Value: true Type: Boolean is not of expected type: float"),
        ("1", BOOL, "JSON Value: 1 Type: Number is not of expected type: bool"),
        ("NaN", INT32, "JSON Value: NaN Type: Number is not of expected type: int32"),
    ],
)
def test_read_inputs_wrong_type_is_told_with_the_value(value: str, dtype: int, text: str) -> None:
    assert refusal(f'{{"inputs": [{value}]}}', x=dtype) == text
    assert refusal(f'{{"instances": [{value}]}}', x=dtype) == (
        f"Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: {text}"
    )


def test_read_inputs_objects_that_are_no_values_are_refused() -> None:
    assert refusal('{"inputs": {"x": [{"a": 1}]}}', x=INT32) == (
        'JSON Value: {\n    "a": 1\n} Type: Object is not of expected type: int32'
    )
    assert "Type: Object is not of expected type: string" in refusal('{"inputs": {"x": [{"a": 1}]}}', x=STRING)
    assert refusal('{"inputs": {"x": {"b64": "*"}}}', x=STRING) == "Unable to base64 decode"
    assert refusal('{"instances": [{"b64": "*"}]}', x=STRING) == (
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode"
    )
    assert "Type: Object is not of expected type: float" in refusal('{"inputs": {"b64": "aGVsbG8="}}', x=FLOAT)


@pytest.mark.parametrize(
    ("rows", "at", "text"),
    [
        ("[[1,2],[3,4],[5,6,7]]", 2, "shape (2,) but got: (3,)"),
        ("[[1,2],[3,4],[[5,6]]]", 2, "shape (2,) but got: (1, 2)"),
        ("[1,[1]]", 1, "shape () but got: (1,)"),
        ("[[1,[2]]]", 0, "Type: Array is not of expected type: int32"),
        ("[[[1],2]]", 0, "lists of 1 values"),
        ("[[[1],[2,3]]]", 0, "lists of 1 values"),
    ],
)
def test_read_inputs_ragged_lists_are_refused(rows: str, at: int, text: str) -> None:
    message = refusal(f'{{"instances": {rows}}}')

    assert message.startswith(f"Failed to process element: {at} of 'instances' list. Error: ")
    assert text in message


def test_read_inputs_wrong_value_among_many_is_found() -> None:
    values = [*range(1000), "wrong", *range(1000)]

    assert 'JSON Value: "wrong" ' in refusal(json.dumps({"inputs": values}))
    assert refusal(json.dumps({"instances": values})).startswith("Failed to process element: 1000 of ")


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ('{"inputs": {"a": [1]}}', ["Missing named input: b in 'inputs' object."]),
        ('{"inputs": [1]}', ["inputs is a plain value/list, but expecting an object", "a, b"]),
        ('{"instances": [1]}', ["instances is a plain list, but expecting list of objects", "a, b"]),
        ('{"instances": [{"a": 1}]}', ["element: 0 of 'instances' list.", '"a": 1', "keys must be: a,b"]),
        ('{"instances": [{"a": 1, "b": "x"}, {"a": 1}]}', ["element: 1 of 'instances' list.", "keys must be: a,b"]),
        ('{"instances": [{"a": 1, "b": "x"}, [1]]}', ["Expecting object but got list at item 1 of input list"]),
        ('{"instances": [{"a": 1, "c": 2}]}', ["Failed to process element: 0 key: c of 'instances' list.", "a, b"]),
        ('{"instances": [{"a": 1, "b": "x"}, {"a": 1, "b": 1}]}', ["element: 1 key: b of 'instances'", "string"]),
        ("{}", ["Missing 'inputs' or 'instances' key"]),
        ('{"instances": 1}', ['JSON Value: {\n    "instances": 1\n} ', "list of at least one value"]),
        ('{"instances": []}', ['JSON Value: {\n    "instances": []\n} ', "list of at least one value"]),
        ('{"instances": 1, "inputs": 1}', ["JSON Value: {", "only one of 'inputs' and 'instances'"]),
    ],
)
def test_read_inputs_wrong_form_is_named(body: str, texts: list[str]) -> None:
    message = refusal(body, a=INT32, b=STRING)

    assert all(text in message for text in texts), message


def test_read_inputs_mixed_rows_are_refused() -> None:
    assert refusal('{"instances": [["a"], {"x": ["b"]}]}', x=STRING) == (
        "Expecting value/list but got object at item 1 of input list"
    )


def test_read_inputs_unknown_columns_are_ignored() -> None:
    assert read('{"inputs": {"x": [1], "y": [2]}}', x=INT32) == {"x": [1]}


def test_read_inputs_optional_inputs_may_be_left_out_by_all_rows() -> None:
    dtypes = {"a": INT32, "b": INT32}

    assert read_inputs(parse(b'{"inputs": {"a": [1]}}'), dtypes, {"b"})[0].keys() == {"a"}
    assert read_inputs(parse(b'{"instances": [{"a": 1}, {"a": 2}]}'), dtypes, {"b"})[0]["a"].tolist() == [1, 2]
    for body in (b'{"instances": [{"a": 1}, {"a": 2, "b": 1}]}', b'{"instances": [{"a": 1, "b": 1}, {"a": 2}]}'):
        with pytest.raises(ServingError, match="keys must be: a,b"):
            read_inputs(parse(body), dtypes, {"b"})


def test_read_inputs_type_that_json_cannot_hold_is_unimplemented() -> None:
    with pytest.raises(ServingError, match="half") as caught:
        read('{"inputs": [1.0]}', x=HALF)

    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "The document is empty"),
        (b"instances = [1, 2]", "Invalid value. at offset: 0"),
        (b'x {"a": 1}', "Invalid value. at offset: 0"),
        (b'{"a": 1', "Invalid value."),
        (b'{"a": [1 2]}', "Invalid value. at offset: 9 ("),
        (b'{"a": \xff}', "Invalid value."),
        (b'{"a": "\xff\\udcff"}', "Invalid value."),
        (b'{"a": "\xff\t"}', "Invalid value."),
        (b'{"a": NaN, "b": "\\ud800"}', "Invalid value."),
        (b'{"a": "\\ud800"}', "Invalid value."),
        (b"[" * 100_000, "Invalid value."),
        (b'{"a": NaN, "b": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "Invalid value."),
        (b'{"a": 1e999}', "Invalid value."),
        (b'{"a": [NaN, 1e400]}', "Invalid value."),
        (b'{"a": [NaN, -1e400]}', "Invalid value."),
        (b'{"a": Infi}', "Invalid value."),
        (b'{"a": infinity}', "Invalid value."),
        (b'{"a": +Inf}', "Invalid value."),
        (b'{"a": ' + b"9" * 5000 + b"}", "Invalid value."),
        (b'{"a": Nan}', "Invalid value."),
    ],
)
def test_parse_what_is_no_json_is_a_parse_error(body: bytes, text: str) -> None:
    assert refusal(body).startswith(f"JSON Parse error: {text}")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1} trailing', 1),
        (b'{"a": 1}{"a": 2}', 1),
        (b'{"a": 1}\0', 1),
        (b'{"a": 1}\xff', 1),
        (b'{"a": 1, "a" : 2}', 1),
        (b'{"a": {"b": 1, "b": 2}, "c": {"b": 3}}', {"b": 1}),
        (b'{"a": [{"b": 1, "b": 2}]}', [{"b": 1}]),
        (b'{"a": "x\\":y"}', 'x":y'),
        (b'{"a": "\xff\\n"}', {"b64": "/wo="}),
        (b'{"a": ["\xc3\xa4", "\xff"]}', ["\xe4", {"b64": "/w=="}]),
        (b'{"a": [Inf, -Inf, Infinity, -Infinity]}', [inf, -inf, inf, -inf]),
        (b'{"a": [Inf, "Inf -NaN \\" Inf"]}', [inf, 'Inf -NaN " Inf']),
        (b'{"a": [Inf, "\\ud83d\\ude00"]}', [inf, "\U0001f600"]),
    ],
)
def test_parse_reads_what_rapidjson_reads_with_the_flags_of_tensorflow_serving(body: bytes, value: Any) -> None:
    assert parse(body)["a"] == value


def test_parse_minus_nan_is_nan() -> None:
    assert isnan(parse(b'{"a": -NaN}')["a"])


def test_parse_object_that_is_too_deep_to_be_searched_for_repeated_keys_is_refused() -> None:
    assert "nested too deeply" in refusal(b'{"a": 1, "a": ' + b"[" * 1010 + b"]" * 1010 + b"}")


def test_parse_long_integers_are_doubles_with_and_without_tokens() -> None:
    assert parse(b'{"a": 18446744073709551616}') == {"a": 2.0**64}
    assert parse(b'{"a": [NaN, 18446744073709551616, 7]}')["a"][1:] == [2.0**64, 7]
    assert type(parse(b'{"a": [NaN, 18446744073709551615]}')["a"][1]) is int


def test_parse_byte_order_mark_is_skipped() -> None:
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("body", ["[1]", "1", "null", '"a"'])
def test_parse_what_is_no_object_is_refused(body: str) -> None:
    assert refusal(body).endswith(" Is not object")


def test_read_inputs_deep_lists_are_refused() -> None:
    deep = "[" * 900 + "1" + "]" * 900

    assert "nested too deeply: at most 64 levels" in refusal(f'{{"inputs": {deep}}}')
    assert "nested too deeply: at most 64 levels" in refusal(f'{{"instances": [{deep}]}}')


def test_shown_long_values_are_cut() -> None:
    assert len(shown(list(range(10**6)))) == 1025
    assert len(shown({"a": "x" * 10**6})) == 1025


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just({"b64": "aGk="}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "x"]), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=examples(150), deadline=None)
@example(document={"inputs": []}, dtypes={"a": 19})
@given(
    document=st.dictionaries(st.sampled_from(["instances", "inputs"]), JSON, max_size=2),
    dtypes=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from([1, 2, 3, 4, 7, 9, 10, 19, 23]), min_size=1),
)
def test_read_inputs_any_json_makes_tensors_or_a_serving_error(document: Any, dtypes: dict[str, int]) -> None:
    outcome = outcome_of(lambda: read_inputs(parse(json.dumps(document).encode()), dtypes)[0])

    if isinstance(outcome, ServingError):
        assert outcome.code in (INVALID, grpc.StatusCode.UNIMPLEMENTED)
        assert len(outcome.message) < 5000
    else:
        assert outcome.keys() == dtypes.keys()


@settings(max_examples=examples(150), deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,0.eN aI-\\u', max_size=40).map(str.encode))
def test_parse_any_bytes_make_an_object_or_a_serving_error(body: bytes) -> None:
    outcome = outcome_of(lambda: parse(body))

    assert isinstance(outcome, dict) or outcome.code is INVALID


def outcome_of(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except ServingError as error:
        return error
