"""A logged call, and its rows in the log, for each form of TensorFlow Serving's requests."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from serving.protocol.json_values import parse as parse_json
from serving.protocol.protos import classification_pb2, predict_pb2, regression_pb2
from serving.protocol.signatures import SERVING_DEFAULT
from serving.protocol.tensor_protos import FLOAT, INT64, STRING, TENSOR_TYPES, array_of
from serving.request_log.features import EVERY_FIELD, Fields, Row, Values, of_column, of_example, of_value

METHODS = ("predict", "classify", "regress")
# Parsed, a call takes several times its size, and each row some of its own.
MAX_CALL_BYTES = 8 << 20
MAX_CALL_ROWS = 1 << 14
_MAX_ID = 256
CLASSES, SCORES = "classes", "scores"
# Vectors of the types that most requests hold need no array in between.
_PLAIN_TYPES = (FLOAT, INT64, STRING)
_GZIP = b"\x1f\x8b"
_PROTOS = {
    "predict": (predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    "classify": (classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse),
    "regress": (regression_pb2.RegressionRequest, regression_pb2.RegressionResponse),
}


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A call that was answered, or that failed.

    Attributes:
        request_id: The client's `x-request-id`, or a new one.
        protocol: `rest` or `grpc`.
        method: `predict`, `classify` or `regress`; calls of other methods are not logged.
        model: The model's name; empty if the request message has it.
        version: The version that answered; None if unknown, or if the response message has it.
        request: REST: the body. gRPC: the request message, or its bytes.
        response: The answer, in the same form.
        started: Seconds since the epoch.
        latency_seconds: From the request's arrival to the answer.
        label: The version label in the request; empty for none.
        error: The gRPC code of a call that failed, such as INVALID_ARGUMENT; nothing of its request is logged.
    """

    request_id: str
    protocol: Literal["rest", "grpc"]
    method: str
    model: str
    version: int | None
    request: Any
    response: Any
    started: float
    latency_seconds: float
    label: str = ""
    error: str = ""

    @property
    def size(self) -> int:
        """Bytes of id, request and response."""
        messages = (self.request, self.response)
        return len(self.request_id) + sum(len(e) if isinstance(e, bytes) else e.ByteSize() for e in messages)


class TooLargeError(Exception):
    """A parsed call would take too much memory."""


class ParsedCall(NamedTuple):
    """A call's listed features and its outputs, row by row; there may be fewer features than outputs."""

    model: str
    signature: str
    version: int | None
    features: Sequence[Row]
    outputs: Sequence[Row]
    error: str = ""

    def rows(self, call: LoggedCall, version: int | None) -> list[tuple[Any, ...]]:
        """Rows in the order of `parquet.schema()`."""
        request_id = call.request_id[:_MAX_ID]
        time = datetime.fromtimestamp(call.started, UTC)
        head = (time, version, call.protocol, call.method, self.signature, call.latency_seconds)
        if self.error:
            return [(request_id, 0, *head, None, None, None, None, self.error)]
        rows = []
        for index, outputs in enumerate(self.outputs):
            features = self.features[index] if index < len(self.features) else {}
            rows.append((request_id, index, *head, _entries(features), *_prediction(outputs), None))
        return rows


def parse_call(call: LoggedCall, fields: Fields) -> ParsedCall:
    """Parses a call; features that are not listed are skipped.

    Raises:
        TooLargeError: it has too many rows, or unpacks to too many bytes.
        Exception: of any kind, if the messages do not fit the method.
    """
    if call.error:  # the request may be what was wrong: of it only the model's name is read
        model = call.model or _PROTOS[call.method][0].FromString(_unpacked(call.request)).model_spec.name
        return ParsedCall(model, "", call.version, (), (), call.error)
    return _parse_rest(call, fields) if call.protocol == "rest" else _parse_grpc(call, fields)


def _parse_rest(call: LoggedCall, fields: Fields) -> ParsedCall:
    request, answer = (parse_json(_unpacked(body)) for body in (call.request, call.response))
    if call.method != "predict":
        context = request.get("context", {})
        features = [_json_example(each, fields) for each in request["examples"]]
        features = _with_context(_json_example(context, fields), len(str(context)), features)
        outputs = [_values(result) for result in _limited(answer["results"])]
    elif "instances" in request:
        features, outputs = _columns(_transposed(request["instances"]), _transposed(answer["predictions"]), fields)
    else:
        features, outputs = _columns(_named(request["inputs"]), _named(answer["outputs"]), fields)
    return ParsedCall(call.model, request.get("signature_name") or SERVING_DEFAULT, call.version, features, outputs)


def _parse_grpc(call: LoggedCall, fields: Fields) -> ParsedCall:
    request, response = (
        each if not isinstance(each, bytes) else kind.FromString(_unpacked(each))
        for each, kind in zip((call.request, call.response), _PROTOS[call.method], strict=True)
    )
    if call.method == "predict":
        given = {name: _listed(proto) for name, proto in request.inputs.items()} if fields else {}
        features, outputs = _columns(given, {name: _listed(proto) for name, proto in response.outputs.items()}, fields)
    else:
        features = _input_features(request.input, fields) if fields else []
        if call.method == "regress":
            outputs = [_values(each.value) for each in _limited(response.result.regressions)]
        else:
            results = _limited(response.result.classifications)
            outputs = [_values([(each.label, each.score) for each in found.classes]) for found in results]
    spec = response.model_spec
    version = spec.version.value if call.version is None and spec.HasField("version") else call.version
    signature = request.model_spec.signature_name or SERVING_DEFAULT
    return ParsedCall(call.model or request.model_spec.name, signature, version, features, outputs)


def _unpacked(body: bytes) -> bytes:
    """A body, unpacked up to the longest call; neither JSON nor these protos begin as gzip does."""
    if not body.startswith(_GZIP):
        return body
    unpacking = zlib.decompressobj(wbits=31)
    plain = unpacking.decompress(body, MAX_CALL_BYTES)
    if not unpacking.eof:
        raise TooLargeError("the gzip body unpacks to too many bytes, or is cut")
    return plain


def _limited(rows: Sequence[Any]) -> Sequence[Any]:
    if len(rows) > MAX_CALL_ROWS:
        raise TooLargeError(f"{len(rows)} rows in one call")
    return rows


def _transposed(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Row format to columns; a single value has no name."""
    if not all(isinstance(row, dict) and set(row) != {"b64"} for row in rows):
        return {"": list(rows)}
    if any(row.keys() != rows[0].keys() for row in rows):
        raise ValueError("the rows have different names")
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _named(value: Any) -> Mapping[str, Any]:
    """Column format to columns; a single one has no name."""
    return value if isinstance(value, dict) and set(value) != {"b64"} else {"": value}


def _listed(proto: Any) -> Any:
    """A tensor as nested lists."""
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if len(shape) == 1 and proto.dtype in _PLAIN_TYPES:
        values = getattr(proto, TENSOR_TYPES[proto.dtype].field)
        if len(values) == shape[0]:
            return list(values)
    count, size = math.prod(shape), proto.ByteSize()
    # A shape may ask for more values than the message holds.
    if count > max(size, MAX_CALL_ROWS):
        raise TooLargeError(f"a tensor of {size} bytes asks for {count} values")
    return array_of(proto).tolist()


def _columns(given: Mapping[str, Any], answered: Mapping[str, Any], fields: Fields) -> tuple[list[Row], list[Row]]:
    """Features and outputs of the columns that were sent and answered: one row if the outputs differ in length."""
    sizes = {len(column) if isinstance(column, list) else 1 for column in answered.values()}
    count = sizes.pop() if len(sizes) == 1 else 1
    rows: list[list[Row]] = []
    for columns, listed in ((given, fields), (answered, Fields(EVERY_FIELD))):
        rows.append([{} for _ in _limited(range(count))])
        for name, column in columns.items() if listed else ():
            # A column without a value for each row belongs to the first one: repeated it could take any size.
            values = column if isinstance(column, list) and len(column) == count else [column]
            for row, found in zip(rows[-1], of_column(name, values, listed), strict=False):
                row.update(found)
    return rows[0], rows[1]


def _values(result: Any) -> Row:
    """A result of Classify, pairs of label and score; or of Regress, a number."""
    if not isinstance(result, list):
        return {"": Values(floats=[float(result)])}
    return {
        CLASSES: Values(strings=[str(label) for label, _ in result]),
        SCORES: Values(floats=[float(score) for _, score in result]),
    }


def _json_example(example: Mapping[str, Any], fields: Fields) -> Row:
    found = {name: of_value(value) for name, value in example.items() if name in fields}
    return {name: values for name, values in found.items() if values is not None}


def _input_features(given: Any, fields: Fields) -> list[Row]:
    if given.WhichOneof("kind") == "example_list":
        return [of_example(example, fields) for example in given.example_list.examples]
    context = given.example_list_with_context.context
    features = [of_example(each, fields) for each in given.example_list_with_context.examples]
    return _with_context(of_example(context, fields), context.ByteSize(), features)


def _with_context(context: Row, size: int, features: list[Row]) -> list[Row]:
    """Adds the context's features to each example, whose own features win."""
    if size * len(features) > MAX_CALL_BYTES:
        raise TooLargeError(f"a context of {size} bytes for {len(features)} examples")
    return [{**context, **row} for row in features]


def _entries(row: Row) -> list[tuple[Any, ...]]:
    return [(name, *values) for name, values in row.items()]


def _prediction(outputs: Row) -> tuple[Any, Any, Any]:
    """The columns `classes`, `scores` and `outputs`; outputs without a column of their own are in the last, by name."""
    if len(outputs) == 1:
        values = next(iter(outputs.values()))
        if values.bytes is None:
            return values.strings, values.numbers(), []
    classes, scores = outputs.get(CLASSES, Values()), outputs.get(SCORES, Values())
    kept = {CLASSES: classes.strings is not None, SCORES: scores.numbers() is not None}
    return classes.strings, scores.numbers(), _entries({n: v for n, v in outputs.items() if not kept.get(n)})
