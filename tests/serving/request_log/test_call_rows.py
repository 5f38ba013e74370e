"""What is logged of a call, for each of the forms that TensorFlow Serving takes."""

from __future__ import annotations

import base64
import gzip
import json
import math
from typing import Any

import numpy as np
import pytest

from serving.protocol.protos import classification_pb2, regression_pb2
from serving.request_log import LoggedCall, schema
from serving.request_log.call_rows import MAX_CALL_BYTES, MAX_CALL_ROWS, TooLargeError, parse_call
from serving.request_log.features import Fields
from tests.serving.request_log.calls import (
    example,
    features_of,
    grpc_call,
    predict_answer,
    predict_request,
    rest_call,
    strings,
)

FEATURES: list[dict[str, Any]] = [
    {"fare": [12.5], "miles": [3], "company": ["Blue"]},
    {"fare": [7.25], "miles": [1], "company": ["Çağ"]},
]
SERIALIZED = [
    example(fare=[row["fare"][0]], miles=row["miles"], company=[row["company"][0].encode()]).SerializeToString()
    for row in FEATURES
]
B64 = [{"b64": base64.b64encode(each).decode()} for each in SERIALIZED]
ARRAYS = {
    "fare": np.array([12.5, 7.25], np.float32),
    "miles": np.array([3, 1]),
    "company": strings(b"Blue", "Çağ".encode()),
}
SCORES = {"predictions": np.array([0.25, 0.75], np.float32)}


def logged(call: LoggedCall, fields: str = "*") -> list[dict[str, Any]]:
    rows = parse_call(call, Fields(fields.split(","))).rows(call, call.version)
    return [dict(zip(schema().names, row, strict=True)) for row in rows]


def features(call: LoggedCall, fields: str = "*") -> list[dict[str, Any]]:
    names = ("name", "ints", "floats", "strings", "bytes")
    rows = logged(call, fields)
    return [features_of({"features": [dict(zip(names, e, strict=True)) for e in row["features"]]}) for row in rows]


PREDICTIONS = {
    "rows": rest_call(
        {"instances": [{"fare": 12.5, "miles": 3, "company": "Blue"}, {"fare": 7.25, "miles": 1, "company": "Çağ"}]},
        {"predictions": [0.25, 0.75]},
    ),
    "columns": rest_call(
        {"inputs": {"fare": [12.5, 7.25], "miles": [3, 1], "company": ["Blue", "Çağ"]}}, {"outputs": [0.25, 0.75]}
    ),
    "rows of examples": rest_call({"instances": B64}, {"predictions": [0.25, 0.75]}),
    "named rows of examples": rest_call(
        {"instances": [{"examples": each} for each in B64]}, {"predictions": [0.25, 0.75]}
    ),
    "a column of examples": rest_call({"inputs": B64}, {"outputs": [0.25, 0.75]}),
    "a named column of examples": rest_call({"inputs": {"examples": B64}}, {"outputs": [0.25, 0.75]}),
    "gzip": rest_call(
        gzip.compress(json.dumps({"instances": B64}).encode()), gzip.compress(b'{"predictions": [0.25, 0.75]}')
    ),
    "tensors": grpc_call(predict_request(ARRAYS), predict_answer(SCORES)),
    "tensors [N, 1]": grpc_call(
        predict_request({name: array.reshape(2, 1) for name, array in ARRAYS.items()}),
        predict_answer({"predictions": np.array([[0.25], [0.75]], np.float32)}),
    ),
    "serialized tensors": grpc_call(
        predict_request(ARRAYS).SerializeToString(), predict_answer(SCORES).SerializeToString(), model="", version=None
    ),
    "a tensor of examples": grpc_call(predict_request({"examples": strings(*SERIALIZED)}), predict_answer(SCORES)),
}


@pytest.mark.parametrize("form", PREDICTIONS)
def test_parse_call_predict_logs_what_was_sent(form: str) -> None:
    call = PREDICTIONS[form]
    assert features(call) == FEATURES
    rows = logged(call)
    assert [(row["instance"], row["scores"], row["classes"], row["outputs"]) for row in rows] == [
        (0, [0.25], None, []),
        (1, [0.75], None, []),
    ]
    assert {row["signature"] for row in rows} == {"serving_default"}


@pytest.mark.parametrize("form", PREDICTIONS)
def test_parse_call_logs_listed_features_only(form: str) -> None:
    call = PREDICTIONS[form]
    assert features(call, "miles,Fare,examples") == [{"miles": [3]}, {"miles": [1]}]
    assert features(call, "mile") == [{}, {}]
    none = parse_call(call, Fields(())).rows(call, 3)
    assert [row[8] for row in none] == [[], []]


def test_parse_call_serialized_grpc_says_model_and_version() -> None:
    call = PREDICTIONS["serialized tensors"]
    parsed = parse_call(call, Fields("*"))
    assert (parsed.model, parsed.version) == ("taxi", 3)


def _classified() -> Any:
    answer = classification_pb2.ClassificationResponse()
    for score in (0.25, 0.75):
        found = answer.result.classifications.add()
        found.classes.add(label="no", score=1 - score)
        found.classes.add(label="yes", score=score)
    return answer


def _regressed() -> Any:
    answer = regression_pb2.RegressionResponse()
    for value in (0.25, 0.75):
        answer.result.regressions.add(value=value)
    return answer


def _input(kind: Any, with_context: bool) -> Any:
    request = kind()
    if with_context:
        given = request.input.example_list_with_context
        given.context.CopyFrom(example(company=[b"Blue"]))
        given.examples.extend(
            [example(fare=[12.5], miles=[3]), example(fare=[7.25], miles=[1], company=[b"\xc3\x87a\xc4\x9f"])]
        )
    else:
        request.input.example_list.examples.extend([type(example()).FromString(each) for each in SERIALIZED])
    return request


JSON_EXAMPLES = {
    "examples": [{"fare": 12.5, "miles": 3, "company": "Blue"}, {"fare": 7.25, "miles": [1], "company": "Çağ"}]
}
JSON_CONTEXT = {
    "context": {"company": "Blue"},
    "examples": [{"fare": 12.5, "miles": 3}, {"fare": 7.25, "miles": 1, "company": "Çağ"}],
}
CLASSIFIED = {"results": [[["no", 0.75], ["yes", 0.25]], [["no", 0.25], ["yes", 0.75]]]}
CLASSIFICATIONS = {
    "rest": rest_call(JSON_EXAMPLES, CLASSIFIED, "classify"),
    "rest context": rest_call(JSON_CONTEXT, CLASSIFIED, "classify"),
    "grpc": grpc_call(_input(classification_pb2.ClassificationRequest, False), _classified(), "classify"),
    "grpc context": grpc_call(_input(classification_pb2.ClassificationRequest, True), _classified(), "classify"),
}
REGRESSIONS = {
    "rest": rest_call(JSON_EXAMPLES, {"results": [0.25, 0.75]}, "regress"),
    "grpc": grpc_call(_input(regression_pb2.RegressionRequest, False), _regressed(), "regress"),
    "grpc context": grpc_call(_input(regression_pb2.RegressionRequest, True), _regressed(), "regress"),
}


@pytest.mark.parametrize("form", CLASSIFICATIONS)
def test_parse_call_classify_logs_examples_classes_and_scores(form: str) -> None:
    call = CLASSIFICATIONS[form]
    assert features(call) == FEATURES
    assert features(call, "company") == [{"company": ["Blue"]}, {"company": ["Çağ"]}]
    assert [(row["classes"], row["scores"]) for row in logged(call)] == [
        (["no", "yes"], [0.75, 0.25]),
        (["no", "yes"], [0.25, 0.75]),
    ]


@pytest.mark.parametrize("form", REGRESSIONS)
def test_parse_call_regress_logs_examples_and_values(form: str) -> None:
    call = REGRESSIONS[form]
    assert features(call) == FEATURES
    assert [(row["classes"], row["scores"]) for row in logged(call)] == [(None, [0.25]), (None, [0.75])]


def test_parse_call_several_outputs_are_named() -> None:
    outputs = {
        "classes": strings(b"no", b"yes"),
        "scores": np.array([[0.1, 0.9], [0.8, 0.2]]),
        "embedding": np.arange(4).reshape(2, 2),
    }
    by_row = [
        {"classes": "no", "scores": [0.1, 0.9], "embedding": [0, 1]},
        {"classes": "yes", "scores": [0.8, 0.2], "embedding": [2, 3]},
    ]
    given = {"fare": [1.0, 2.0]}
    calls = [
        grpc_call(predict_request({"fare": np.array([1.0, 2.0])}), predict_answer(outputs)),
        rest_call({"instances": [{"fare": 1.0}, {"fare": 2.0}]}, {"predictions": by_row}),
        rest_call({"inputs": given}, {"outputs": {name: [row[name] for row in by_row] for name in outputs}}),
    ]
    for call in calls:
        first, second = logged(call)
        assert (first["classes"], first["scores"]) == (["no"], [0.1, 0.9])
        assert second["outputs"] == [("embedding", [2, 3], None, None, None)]


def test_parse_call_outputs_that_disagree_on_rows_are_one_row() -> None:
    call = grpc_call(
        predict_request({"fare": np.array([1.0, 2.0])}),
        predict_answer({"values": np.array([1.0, 2.0]), "norm": np.array(0.5)}),
    )
    (row,) = logged(call)
    assert {name: floats for name, _, floats, *_ in row["outputs"]} == {"values": [1.0, 2.0], "norm": [0.5]}
    assert features(call) == [{"fare": [1.0, 2.0]}]


def test_parse_call_values_keep_their_kinds() -> None:
    values = b'"a": NaN, "b": [1, 2.5], "c": 9007199254740993, "d": {"b64": "/w=="}, "e": true, "f": [[1], [2]]'
    body = b'{"instances": [{' + values + b"}]}"
    (row,) = features(rest_call(body, {"predictions": [1]}))
    assert math.isnan(row.pop("a")[0])
    assert row == {"b": [1.0, 2.5], "c": [9007199254740993], "d": [b"\xff"], "e": [1], "f": [1, 2]}
    tensors = {"u": np.array([2**64 - 1], np.uint64), "h": np.array([0.5], np.float16), "t": np.array([True])}
    (row,) = features(grpc_call(predict_request(tensors), predict_answer({"p": np.array([1])})))
    assert row == {"u": [2.0**64], "h": [0.5], "t": [1]}


def test_parse_call_text_is_not_taken_for_examples() -> None:
    texts = strings(b"\n line", b"plain")
    call = grpc_call(predict_request({"text": texts}), predict_answer(SCORES))
    assert features(call) == [{"text": ["\n line"]}, {"text": ["plain"]}]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (rest_call(b"{", {"predictions": [1]}), Exception),
        (rest_call({"instances": "no list"}, {"predictions": 1}), Exception),
        (rest_call({"instances": [{"a": 1}, {"b": 1}]}, {"predictions": [1, 2]}), ValueError),
        (rest_call({"examples": [1]}, {"results": [1.0]}, "regress"), Exception),
        (grpc_call(b"\xff\xff", b""), Exception),
        (rest_call({"instances": (many := [0] * (MAX_CALL_ROWS + 1))}, {"predictions": many}), TooLargeError),
        (rest_call(gzip.compress(b" " * (MAX_CALL_BYTES + 1)), {"predictions": [0]}), TooLargeError),
        (
            rest_call({"context": {"a": "x" * 100_000}, "examples": [{}] * 100}, {"results": [0.0] * 100}, "regress"),
            TooLargeError,
        ),
        (
            grpc_call(predict_request({"a": np.zeros(2)}), predict_answer({"p": np.zeros(MAX_CALL_ROWS + 1)})),
            TooLargeError,
        ),
    ],
    ids=[
        "no JSON",
        "no rows",
        "uneven rows",
        "no examples",
        "no proto",
        "many rows",
        "gzip bomb",
        "context",
        "answers",
    ],
)
def test_parse_call_that_cannot_be_logged_is_refused(call: LoggedCall, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_call(call, Fields("*"))


def test_parse_call_shape_that_asks_for_more_than_was_sent_is_refused() -> None:
    request = predict_request({"a": np.zeros(1, np.float32)})
    request.inputs["a"].tensor_shape.dim[0].size = 1 << 25
    with pytest.raises(TooLargeError, match="asks for 33554432 values"):
        parse_call(grpc_call(request, predict_answer(SCORES)), Fields("*"))
