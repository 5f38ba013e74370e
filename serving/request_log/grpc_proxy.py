"""Forwards gRPC to TensorFlow Serving as bytes, and offers predictions to the log."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
from grpc import aio

from serving.protocol.bodies import Bodies
from serving.protocol.limits import GRPC_UNLIMITED, MAX_PROXIED_BYTES
from serving.request_log.call_rows import METHODS, LoggedCall
from serving.request_log.log import RequestLog

Metadata = Sequence[tuple[str, str | bytes]]

_SERVICE = "/tensorflow.serving.PredictionService/"
_LOGGED = {f"{_SERVICE}{method.capitalize()}": method for method in METHODS}
_WATCH = "/grpc.health.v1.Health/Watch"
_ID = "x-request-id"
SERVER_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_PROXIED_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
]
# Reconnects within a second after the upstream is back; it is never behind a proxy.
CHANNEL_OPTIONS = [
    *GRPC_UNLIMITED,
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class GrpcProxy(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Handles every method of every service as one message each way, except the health service's `Watch`.

    `Watch` answers a stream; TensorFlow Serving has no other method that streams.

    Args:
        channel: To TensorFlow Serving.
        log: Gets predictions, and those that failed.
        bodies: Counts what the proxy holds of requests.
    """

    def __init__(self, channel: aio.Channel, log: RequestLog, bodies: Bodies) -> None:
        self._channel = channel
        self._log = log
        self._bodies = bodies

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method."""
        path = handler_call_details.method
        if path == _WATCH:
            return grpc.unary_stream_rpc_method_handler(self._watch)
        return grpc.unary_unary_rpc_method_handler(partial(self._forward, path, self._channel.unary_unary(path)))

    async def _forward(self, path: str, upstream: Any, request: bytes, context: Any) -> bytes:
        with self._bodies.hold() as held:
            if refusal := held.add(len(request)):
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refusal.text)
            return await self._answer(path, upstream, request, context)

    async def _answer(self, path: str, upstream: Any, request: bytes, context: Any) -> bytes:
        started, begin = time.time(), time.perf_counter()
        metadata, request_id = _passed_on(context.invocation_metadata())
        call = upstream(request, timeout=context.time_remaining(), metadata=metadata)
        try:
            answer: bytes = await call
        except aio.AioRpcError as error:
            if path in _LOGGED and error.code() is not grpc.StatusCode.NOT_FOUND:
                self._offer(path, request_id, request, b"", started, begin, error.code().name)
            await _send_initial(context, error.initial_metadata(), request_id)
            await context.abort(error.code(), error.details(), tuple(error.trailing_metadata()))
        await _send_initial(context, await call.initial_metadata(), request_id)
        context.set_trailing_metadata(tuple(await call.trailing_metadata()))
        if path in _LOGGED:
            self._offer(path, request_id, request, answer, started, begin)
        return answer

    def _offer(
        self, path: str, request_id: str, request: bytes, answer: bytes, started: float, begin: float, error: str = ""
    ) -> None:
        """The model and its version stand in the messages."""
        seconds = time.perf_counter() - begin
        call = LoggedCall(request_id, "grpc", _LOGGED[path], "", None, request, answer, started, seconds, error=error)
        self._log.offer(call)

    async def _watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        metadata, _ = _passed_on(context.invocation_metadata())
        call = self._channel.unary_stream(_WATCH)(request, timeout=context.time_remaining(), metadata=metadata)
        try:
            async for answer in call:
                yield answer
        except aio.AioRpcError as error:
            await context.abort(error.code(), error.details(), tuple(error.trailing_metadata()))
        finally:
            call.cancel()  # the client may have gone


def _passed_on(given: Metadata) -> tuple[Metadata, str]:
    """Metadata for the upstream, and the request's id, which is new if the client gave none."""
    metadata = [(key, value) for key, value in given if key != "user-agent" and not key.startswith("grpc-")]
    request_id = next((str(value) for key, value in metadata if key == _ID and value), "") or uuid4().hex
    return [*(pair for pair in metadata if pair[0] != _ID), (_ID, request_id)], request_id


async def _send_initial(context: Any, upstream: Metadata | None, request_id: str) -> None:
    kept = [(key, value) for key, value in upstream or () if key != _ID]
    await context.send_initial_metadata((*kept, (_ID, request_id)))
