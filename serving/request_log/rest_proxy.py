"""Forwards REST to TensorFlow Serving, byte for byte, and offers predictions to the log."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException
from uuid import uuid4

import aiohttp
import orjson
from yarl import URL

from serving.protocol.bodies import Bodies, HeldBody, Refusal
from serving.protocol.errors import HTTP_STATUS
from serving.protocol.http_server import Message, Receive, Send
from serving.protocol.limits import CALL_SILENCE_SECONDS
from serving.protocol.urls import model_path, parse_inference_url
from serving.request_log.call_rows import MAX_CALL_BYTES, LoggedCall
from serving.request_log.log import RequestLog

Header = tuple[bytes, bytes]

LOGGER = logging.getLogger("slipway.request_log")

_ID = b"x-request-id"
_CODES = {status: code.name for code, status in reversed(HTTP_STATUS.items())} | {500: "INTERNAL", 502: "UNAVAILABLE"}
# RFC 9110, 7.6.1: these belong to one connection. The length is computed again, and no 100 is waited for.
_HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
               b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings", b"content-length",
               b"expect"}  # fmt: skip
# Shorter than the upstream's own time-out, so that this side closes idle connections.
_IDLE_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_NO_BODY = (204, 304)
_TOO_LARGE = 413
_AT_ONCE_BYTES = 1 << 20  # aiohttp sends more than this piece by piece
_ASK_SECONDS = _HOLD_SECONDS = 1.0


class RestProxy:
    """The proxy as an ASGI application, to be made in the event loop that it runs in, and closed there.

    Args:
        upstream: `host:port` of TensorFlow Serving's REST.
        log: Gets predictions, and those that failed.
        bodies: Counts what the proxy holds of requests and answers.
    """

    def __init__(self, upstream: str, log: RequestLog, bodies: Bodies) -> None:
        self._upstream = f"http://{upstream}"
        self._log = log
        self._bodies = bodies
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=CALL_SILENCE_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("accept", "accept-encoding", "user-agent", "content-type"),
        )
        self.close = self._session.close

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Passes one request on."""
        with self._bodies.hold() as held:
            body = await held.read(scope, receive)
            given = next((value for name, value in scope["headers"] if name == _ID and value), None)
            request_id = given or uuid4().hex.encode()
            if isinstance(body, Refusal):
                await _refuse(send, request_id, *body)
            elif body is not None and not scope["raw_path"].startswith(b"/"):
                await _refuse(send, request_id, 404, "Not Found")  # `OPTIONS *` asks for no resource
            elif body is not None:
                await self._pass_on(scope, request_id, body, held, send)

    async def _pass_on(self, scope: Message, request_id: bytes, body: bytes, held: HeldBody, send: Send) -> None:
        started, begin = time.time(), time.perf_counter()
        answer: bytes | None = None
        broken: Exception | None = None
        try:
            response = await self._forward(scope, request_id, body)
        except aiohttp.ClientConnectorError as error:
            status = 503
            await _refuse(send, request_id, status, f"TensorFlow Serving does not answer: {error.strerror}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            status = 502
            await _refuse(send, request_id, status, f"TensorFlow Serving broke off: {type(error).__name__}")
        else:
            async with response:
                status, answer, broken = await _pass_back(
                    response, held, send, request_id, is_head=scope["method"] == "HEAD"
                )
        self._log_call(scope, request_id, body, status, answer, started, time.perf_counter() - begin)
        if broken:
            raise broken  # the client has a part of the answer: only a connection that ends tells it so

    def _log_call(
        self,
        scope: Message,
        request_id: bytes,
        body: bytes,
        status: int,
        answer: bytes | None,
        started: float,
        seconds: float,
    ) -> None:
        is_asked = scope["method"] == "POST" and (status == 200 or status >= 400) and status != 404
        if not is_asked or not (url := parse_inference_url(scope["raw_path"])):
            return
        if status == 200 and answer is None:
            self._log.miss("too_large")
            return
        method, label = url.method.lower(), url.label or ""
        given_id, code = request_id.decode("latin-1"), "" if status == 200 else _CODES.get(status, "UNKNOWN")
        # The log asks for the version of a call that failed: the one in the URL need not be there.
        kept = (None, b"", b"") if code else (url.version, body, answer)
        self._log.offer(LoggedCall(given_id, "rest", method, url.model, *kept, started, seconds, label, code))

    async def _forward(self, scope: Message, request_id: bytes, body: bytes) -> aiohttp.ClientResponse:
        try:
            return await self._send(scope, request_id, body)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # An upstream may close an idle connection while a request is on its way; REST requests change nothing.
            return await self._send(scope, request_id, body)

    async def _send(self, scope: Message, request_id: bytes, body: bytes) -> aiohttp.ClientResponse:
        query = scope["query_string"]
        target = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
        sent = [*_end_to_end(scope["headers"]), (_ID, request_id)]
        if body or any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]):
            sent.append((b"content-length", b"%d" % len(body)))
        return await self._session.request(
            scope["method"],
            URL(self._upstream + target.decode("latin-1"), encoded=True),
            headers=[(name.decode(), value.decode(errors="replace")) for name, value in sent],  # written as UTF-8
            data=io.BytesIO(body) if len(body) > _AT_ONCE_BYTES else body or None,
            allow_redirects=False,
        )


class UpstreamVersions:
    """The version that answers requests which name none: the newest available one of a model, or that of a label.

    None if the upstream, the `host:port` of REST, does not say. An answer holds for a second, or ten times as long as
    it took: the log waits for it, and would drop calls if it waited for a slow upstream all the time.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._answers: dict[str, tuple[int | None, float]] = {}  # and until when each holds

    def __call__(self, model: str, label: str) -> int | None:
        """The version by the names of a model and a label, which may be empty."""
        path, begin = model_path(model, label=label), time.monotonic()
        version, until = self._answers.get(path, (None, 0.0))
        if begin >= until:
            version, end = _ask_version(self._upstream, path), time.monotonic()
            self._answers[path] = version, end + max(_HOLD_SECONDS, 10 * (end - begin))
        return version


def _ask_version(upstream: str, path: str) -> int | None:
    connection = HTTPConnection(upstream, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", path)
        versions = json.loads(connection.getresponse().read())["model_version_status"]
        return max((int(each["version"]) for each in versions if each["state"] == "AVAILABLE"), default=None)
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        LOGGER.debug("%s%s: %s", upstream, path, error)
        return None
    finally:
        connection.close()


async def _pass_back(
    response: aiohttp.ClientResponse, held: HeldBody, send: Send, request_id: bytes, *, is_head: bool
) -> tuple[int, bytes | None, Exception | None]:
    """Sends an answer on, and returns status, body, and why the answer breaks off if it does after its first piece.

    A body too large for the log passes in pieces, and is None.
    """
    kept, pieces = bytearray(), aiter(response.content.iter_any())
    is_whole = True
    try:
        async for piece in pieces:
            kept += piece
            if held.add(len(piece)) or len(kept) > MAX_CALL_BYTES:
                is_whole = False
                break
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        await _refuse(send, request_id, 502, f"TensorFlow Serving broke off: {type(error).__name__}")
        return 502, None, None
    headers = [*_end_to_end(response.raw_headers), (_ID, request_id)]
    if is_whole and not is_head and response.status not in _NO_BODY:
        headers.append((b"content-length", b"%d" % len(kept)))
    else:
        headers += [header for header in response.raw_headers if header[0].lower() == b"content-length"]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    answer = bytes(kept)
    await send({"type": "http.response.body", "body": answer, "more_body": not is_whole})
    if is_whole:
        return response.status, answer, None
    while True:
        try:
            piece = await anext(pieces, b"")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return 502, None, error
        await send({"type": "http.response.body", "body": piece, "more_body": bool(piece)})
        if not piece:
            return response.status, None, None


async def _refuse(send: Send, request_id: bytes, status: int, text: str) -> None:
    answer = orjson.dumps({"error": text})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(answer)),
        (_ID, request_id),
    ]
    if status == _TOO_LARGE:
        headers.append((b"connection", b"close"))  # the rest of the body will not be read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def _end_to_end(headers: Iterable[Header]) -> list[Header]:
    """Headers without those of one connection (RFC 9110, or named by `Connection`) and without the request's id."""
    given = list(headers)
    named = {name.strip().lower() for key, value in given if key.lower() == b"connection" for name in value.split(b",")}
    left_out = _HOP_BY_HOP | named | {_ID}
    return [(name, value) for name, value in given if name.lower() not in left_out]
