"""TensorFlow Serving's REST API: from a request to its answer (`model_servers/http_rest_api_handler.cc`)."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import grpc
import orjson
from google.protobuf import json_format

from serving.protocol.errors import ServingError, invalid_argument
from serving.protocol.json_values import parse, shown
from serving.protocol.limits import MAX_UNCOMPRESSED_BYTES
from serving.protocol.protos import get_model_metadata_pb2
from serving.protocol.signatures import SERVING_DEFAULT
from serving.protocol.urls import ModelUrl, is_api_url, parse_inference_url, parse_model_url
from serving.server import inference
from serving.server.call_recorder import Call, CallRecorder
from serving.server.json_answers import write_classes, write_error, write_outputs, write_values
from serving.server.json_examples import read_examples
from serving.server.json_tensors import read_inputs
from serving.server.metrics import PATH as METRICS_PATH
from serving.server.metrics import Metrics
from serving.server.model_manager import ModelManager
from serving.server.servable import Servable

if TYPE_CHECKING:
    from serving.request_log import RequestLog

LOGGER = logging.getLogger(__name__)

# model_servers/http_server.cc
_HTTP_STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_JSON, _TEXT = b"application/json", b"text/plain"


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    content_type: bytes
    body: bytes


class _Inputs(NamedTuple):
    """The inputs of a signature: their types, and the names of those that may be left out."""

    dtypes: Mapping[str, int]
    optional: frozenset[str]


class RestApi:
    """Answers requests; blocks while a model computes, and many threads may call it at a time."""

    def __init__(self, manager: ModelManager, metrics: Metrics, request_log: RequestLog | None = None) -> None:
        self._manager = manager
        self._metrics = metrics
        self._recorder = CallRecorder(metrics, request_log)
        self._inputs: WeakKeyDictionary[Servable, dict[str, _Inputs]] = WeakKeyDictionary()

    def answer(self, method: str, target: bytes, body: bytes, request_id: str = "", encoding: bytes = b"") -> Answer:
        """Answers one request.

        Args:
            method: The HTTP method.
            target: Path and query, not unquoted.
            body: The body, not unpacked.
            request_id: For the request log.
            encoding: The header Content-Encoding.
        """
        if target == METRICS_PATH.encode():
            return Answer(200, _TEXT, self._metrics.page().encode())
        if not is_api_url(target):
            return Answer(404, _TEXT, b"Not Found\n")
        try:
            # TensorFlow Serving ignores the case of a URL when it matches it, but not when it looks for the method.
            if method == "POST" and (url := parse_inference_url(target)) and url.method.islower():
                return Answer(200, _JSON, self._infer(url, _uncompressed(body, encoding), request_id))
            if method == "GET" and (url := parse_model_url(target)):
                return Answer(200, _JSON, self._describe(url))
            return error_answer(invalid_argument(f"Malformed request: {method} {target.decode(errors='replace')}"))
        except ServingError as error:
            return error_answer(error)
        except Exception as error:
            LOGGER.exception("%s %s failed", method, target.decode(errors="replace"))
            return error_answer(ServingError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"))

    def _infer(self, url: ModelUrl, body: bytes, request_id: str) -> bytes:
        with self._recorder.record("rest", url.method, lambda: request_id) as call:
            call.model, call.label, call.request = url.model, url.label or "", body
            document = parse(body)
            signature = _signature_name(document)
            with self._manager.use(url.model, url.version, url.label) as servable:
                answer = self._answers(url.method, servable, signature, document, call)
                call.version, call.response = servable.version, answer
        return answer

    def _answers(self, method: str, servable: Servable, signature: str, document: dict[str, Any], call: Call) -> bytes:
        if method == "predict":
            expected = self._inputs_of(servable, signature)
            inputs, row_format = read_inputs(document, expected.dtypes, expected.optional)
            return write_outputs(call.run(servable.predict, signature, inputs), row_format)
        examples = read_examples(document)
        if method == "classify":
            return write_classes(*call.run(servable.classify, signature, examples))
        return write_values(call.run(servable.regress, signature, examples))

    def _inputs_of(self, servable: Servable, signature_name: str) -> _Inputs:
        name = signature_name or SERVING_DEFAULT
        known = self._inputs.setdefault(servable, {})
        if name not in known:
            signature = servable.signatures.get(name)
            if signature is None:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            if not signature.inputs:
                raise invalid_argument(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
            dtypes = {alias: info.dtype for alias, info in sorted(signature.inputs.items())}
            known[name] = _Inputs(dtypes, frozenset(signature.defaults))
        return known[name]

    def _describe(self, url: ModelUrl) -> bytes:
        if not url.model:
            raise invalid_argument("Missing model name in request.")
        if url.method == "metadata":
            with self._manager.use(url.model, url.version, url.label) as servable:
                return _metadata(servable)
        found = self._manager.status(url.model, url.version, url.label)
        statuses = [
            {
                "version": str(each.version),
                "state": each.state.name,
                "status": {"error_code": each.code.name, "error_message": each.message},
            }
            for each in found
        ]
        return orjson.dumps({"model_version_status": statuses}, option=orjson.OPT_INDENT_2)


def error_answer(error: ServingError) -> Answer:
    """An error as the API's clients expect it."""
    return Answer(_HTTP_STATUS.get(error.code, 500), _JSON, write_error(error))


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if type(name) is not str:
        raise invalid_argument(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def _uncompressed(body: bytes, encoding: bytes) -> bytes:
    """The body unpacked; empty, as in TensorFlow Serving, if it is no valid gzip or too large."""
    if b"gzip" not in encoding:
        return body
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        whole = stream.decompress(body, MAX_UNCOMPRESSED_BYTES)
    except zlib.error:
        return b""
    return whole if stream.eof else b""


def _metadata(servable: Servable) -> bytes:
    response = inference.metadata(servable)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    spec, wrapped = (
        json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for message in (response.model_spec, signatures)
    )
    return orjson.dumps({"model_spec": spec, "metadata": {"signature_def": wrapped}}, option=orjson.OPT_INDENT_2)
