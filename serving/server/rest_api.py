"""TensorFlow Serving's REST API: from a request to its answer (`model_servers/http_rest_api_handler.cc`).

`RestApp` reads bodies, limits requests in flight, and has threads answer them; `RestApi` answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import uuid4

import grpc
import orjson
from google.protobuf import json_format

from serving.protocol.errors import HTTP_STATUS, ServingError, invalid_argument
from serving.protocol.http_server import Message, Receive, Send
from serving.protocol.json_values import parse, shown
from serving.protocol.limits import MAX_BODY_BYTES, MAX_PENDING, MAX_UNCOMPRESSED_BYTES
from serving.protocol.protos import get_model_metadata_pb2
from serving.protocol.signatures import SERVING_DEFAULT
from serving.protocol.urls import ModelUrl, is_api_url, parse_inference_url, parse_model_url
from serving.request_log import RequestLog
from serving.server import inference
from serving.server.call_recorder import Call, CallRecorder
from serving.server.json_answers import write_classes, write_error, write_outputs, write_values
from serving.server.json_requests import read_examples, read_inputs
from serving.server.metrics import METRICS_PATH, Metrics
from serving.server.model_manager import ModelManager
from serving.server.servable import Servable

LOGGER = logging.getLogger(__name__)

_TOO_LARGE = 413
_JSON, _TEXT = b"application/json", b"text/plain"
# Ids that a client may give its request: they go into logs and back into a header.
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    content_type: bytes
    body: bytes


class RestApi:
    """Answers requests; blocks while a model computes, and many threads may call it at a time."""

    def __init__(self, manager: ModelManager, metrics: Metrics, request_log: RequestLog | None = None) -> None:
        self._manager = manager
        self._metrics = metrics
        self._recorder = CallRecorder(metrics, request_log, manager)

    def answer(self, method: str, target: bytes, body: bytes, request_id: str = "", encoding: bytes = b"") -> Answer:
        """Answers one request; the target is path and query, as they came, the encoding that of the body."""
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
            return _error_answer(invalid_argument(f"Malformed request: {method} {target.decode(errors='replace')}"))
        except ServingError as error:
            return _error_answer(error)
        except Exception as error:
            LOGGER.exception("%s %s failed", method, target.decode(errors="replace"))
            return _error_answer(ServingError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"))

    def _infer(self, url: ModelUrl, body: bytes, request_id: str) -> bytes:
        with self._recorder.record("rest", url.method, lambda: request_id) as call:
            call.model, call.label, call.request, call.version = url.model, url.label or "", body, url.version
            document = parse(body)
            signature = document.get("signature_name", "")
            if type(signature) is not str:
                raise invalid_argument(f"JSON Value: {shown(document)} Expecting 'signature_name' to be a string")
            with self._manager.use(url.model, url.version, url.label) as servable:
                answer = self._answers(url.method, servable, signature, document, call)
                call.version, call.response = servable.version, answer
        return answer

    def _answers(self, method: str, servable: Servable, signature: str, document: dict[str, Any], call: Call) -> bytes:
        if method == "predict":
            name = signature or SERVING_DEFAULT
            if name not in servable.inputs:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            dtypes, _, defaults = servable.inputs[name]
            if not dtypes:
                raise invalid_argument(f'Serving signature name: "{name}" has no inputs')
            inputs, row_format = read_inputs(document, dtypes, defaults.keys())
            return write_outputs(call.run(servable.predict, signature, inputs), row_format)
        examples = read_examples(document)
        if method == "classify":
            return write_classes(*call.run(servable.classify, signature, examples))
        return write_values(call.run(servable.regress, signature, examples))

    def _describe(self, url: ModelUrl) -> bytes:
        if not url.model:
            raise invalid_argument("Missing model name in request.")
        if url.method == "metadata":
            with self._manager.use(url.model, url.version, url.label) as servable:
                return _metadata(servable)
        found = [_to_json(status) for status in self._manager.status(url.model, url.version, url.label)]
        return orjson.dumps({"model_version_status": found}, option=orjson.OPT_INDENT_2)


class RestApp:
    """The REST API of one server as an ASGI application; see `serving/protocol/limits.py` for the limits."""

    def __init__(self, api: RestApi) -> None:
        self._api = api
        self._pool = ThreadPoolExecutor(max(os.cpu_count() or 1, 2), thread_name_prefix="rest")
        self._pending = 0
        self._body_bytes = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = _Request(scope)
        try:
            answer = await self._answer(request, receive)
        finally:
            self._body_bytes -= request.body_bytes
        if answer is None:
            return
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            (b"x-request-id", request.id),
        ]
        if answer.status == _TOO_LARGE:
            # The rest of the body will not be read.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def close(self) -> None:
        """Ends the threads, once they have answered."""
        self._pool.shutdown()

    async def _answer(self, request: _Request, receive: Receive) -> Answer | None:
        """The answer; None if the client has gone."""
        body = await self._read(request, receive)
        if not isinstance(body, bytes):
            return body
        if self._pending >= MAX_PENDING:
            return _busy(f"{self._pending} requests are waiting")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool,
                self._api.answer,
                request.method,
                request.target,
                body,
                request.id.decode(),
                request.encoding,
            )
        finally:
            self._pending -= 1

    async def _read(self, request: _Request, receive: Receive) -> bytes | Answer | None:
        """The body, or a refusal; None if the client goes before the body is complete."""
        if request.announced > MAX_BODY_BYTES:
            return _too_large(request.announced, MAX_BODY_BYTES)
        chunks: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            chunks.append(chunk)
            request.body_bytes += len(chunk)
            self._body_bytes += len(chunk)
            if request.body_bytes > MAX_BODY_BYTES:
                return _too_large(request.body_bytes, MAX_BODY_BYTES)
            if self._body_bytes > MAX_BODY_BYTES:
                return _busy(f"the bodies of all requests have more than {MAX_BODY_BYTES} bytes")
            if not message.get("more_body"):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _Request:
    """The head of a request, and the bytes of its body so far."""

    def __init__(self, scope: Message) -> None:
        self.method: str = scope["method"]
        query = scope["query_string"]
        self.target: bytes = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
        self.id = b""
        self.encoding = b""
        self.announced = 0
        self.body_bytes = 0
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                self.id = value
            elif name == b"content-encoding":
                self.encoding = value
            elif name == b"content-length":
                self.announced = int(value)
        self.id = self.id or uuid4().hex.encode()


def _error_answer(error: ServingError) -> Answer:
    """An error as the API's clients expect it."""
    return Answer(HTTP_STATUS.get(error.code, 500), _JSON, write_error(error))


def _uncompressed(body: bytes, encoding: bytes) -> bytes:
    """The body unpacked; empty, as in TensorFlow Serving, if it is not valid gzip, or too large."""
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
    signatures = get_model_metadata_pb2.SignatureDefMap.FromString(response.metadata["signature_def"].value)
    document = {"model_spec": _to_json(response.model_spec), "metadata": {"signature_def": _to_json(signatures)}}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def _to_json(message: Any) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _busy(reason: str) -> Answer:
    text = f"The server is busy: {reason}; send the request again later"
    return _error_answer(ServingError(grpc.StatusCode.UNAVAILABLE, text))


def _too_large(size: int, limit: int) -> Answer:
    text = f"The body has {size} bytes, this server takes {limit}: send smaller batches"
    return _error_answer(ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, text))._replace(status=_TOO_LARGE)
