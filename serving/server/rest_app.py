"""The REST API as an ASGI application: reads bodies, limits requests in flight, and has threads answer them."""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import grpc

from serving.protocol.errors import ServingError
from serving.protocol.http_server import Message, Receive, Send
from serving.protocol.limits import MAX_BODY_BYTES, MAX_PENDING
from serving.server.rest_api import Answer, RestApi, error_answer

# Ids that a client may give its request: they go into logs and back into a header.
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TOO_LARGE = 413


class RestApp:
    """The REST API of one server; see `serving/protocol/limits.py` for the limits."""

    def __init__(self, api: RestApi) -> None:
        self._api = api
        self._pool = ThreadPoolExecutor(max(os.cpu_count() or 1, 2), thread_name_prefix="rest")
        self._max_pending = MAX_PENDING
        self._max_body_bytes = MAX_BODY_BYTES
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
        if self._pending >= self._max_pending:
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
        if request.announced > self._max_body_bytes:
            return _too_large(request.announced, self._max_body_bytes)
        chunks: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            chunks.append(chunk)
            request.body_bytes += len(chunk)
            self._body_bytes += len(chunk)
            if request.body_bytes > self._max_body_bytes:
                return _too_large(request.body_bytes, self._max_body_bytes)
            if self._body_bytes > self._max_body_bytes:
                return _busy(f"the bodies of all requests have more than {self._max_body_bytes} bytes")
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


def _busy(reason: str) -> Answer:
    text = f"The server is busy: {reason}; send the request again later"
    return error_answer(ServingError(grpc.StatusCode.UNAVAILABLE, text))


def _too_large(size: int, limit: int) -> Answer:
    text = f"The body has {size} bytes, this server takes {limit}: send smaller batches"
    return error_answer(ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, text))._replace(status=_TOO_LARGE)
