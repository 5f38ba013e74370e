"""HTTP/1.1 with time-outs for slow clients and a header limit, by uvicorn; offers to upgrade are ignored."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.protocol.limits import MAX_HEAD_BYTES

# ASGI's.
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ANSWER = (
    b'HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n{"error":"%b"}'
)


class HttpServer(uvicorn.Server):
    """An HTTP server for one ASGI application, which leaves the process's signals alone.

    Requests in flight may take `grace_seconds` after the server is told to stop; `own_headers` are `server` and `date`.
    """

    def __init__(self, app: Any, grace_seconds: float, *, own_headers: bool = True) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=HttpProtocol,
                ws="none",
                # Nothing here depends on the client's address.
                proxy_headers=False,
                server_header=own_headers,
                date_header=own_headers,
                lifespan="off",
                log_level="error",
                access_log=False,
                timeout_graceful_shutdown=max(int(grace_seconds), 1),
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpProtocol(HttpToolsProtocol):
    """Closes half-open connections, slow clients and too long headers; refuses CONNECT. Errors are the API's JSON.

    The test of this class lists the parts of uvicorn that it relies on.
    """

    # Time-outs: for the whole head of a request, and between two pieces of a body or of an answer.
    head_seconds = idle_seconds = 10.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser = HttpParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._is_receiving = False
        self._is_head = True
        self._head_bytes = 0
        self._unsent_bytes = 0
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._abandon()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses the data, and waits for the rest of an incomplete request."""
        if self._is_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._is_receiving:
            self._head_bytes = 0
            self._stop_waiting()
        elif not self._is_head:
            self._wait(self.idle_seconds)
        elif self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", b"The head of the request is too large")
        elif not self._timer:
            self._wait(self.head_seconds)

    def on_message_begin(self) -> None:
        self._is_receiving = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete; if it offers an upgrade, the parser reads it again without the offer."""
        if self.parser.get_method() == b"CONNECT":
            self._refuse(b"501 Not Implemented", b"This server is not a proxy: CONNECT is not supported")
            raise httptools.HttpParserError
        if self.parser.should_upgrade():
            return
        self._is_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._is_receiving = False
        self._is_head = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._wait(self.idle_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        self._refuse(b"400 Bad Request", msg.encode())

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.flow.write_paused:
            before, self._unsent_bytes = self._unsent_bytes, self.transport.get_write_buffer_size()
            if self._unsent_bytes < before:
                self._wait(self.idle_seconds)
            else:
                self.transport.abort()
        elif self.flow.read_paused:
            # The server is the slow one.
            self._wait(self.idle_seconds)
        elif self._is_receiving:
            self._refuse(b"408 Request Timeout", b"The request did not come in time")
        else:
            self.transport.close()

    def _refuse(self, status: bytes, reason: bytes) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_ANSWER % (status, len(reason) + 12, reason))
        self._abandon()
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _abandon(self) -> None:
        """Signals a disconnect to every pipelined request; uvicorn signals it to the last one only."""
        if self._answering:
            self._answering.disconnected = True
            self._answering.message_event.set()


class HttpParser(httptools.HttpRequestParser):
    """Reads a request that offers an upgrade, body included, as if it offered none (RFC 9110, 7.8).

    httptools ends such a request after its head, whatever its length, and would parse the body as the next request
    (`cb_on_headers_complete` in its parser.pyx). The head is therefore parsed twice: as it came, which the receiver has
    to ignore (`should_upgrade`), and without the offer. The receiver refuses CONNECT with an exception.
    """

    def __init__(self, receiver: HttpProtocol) -> None:
        self._receiver = receiver
        self._restart()

    def feed_data(self, data: bytes | bytearray | memoryview | array[int]) -> None:
        """Parses data; raises `httptools.HttpParserError` where it is not HTTP, or a callback failed."""
        rest = memoryview(data)
        while True:
            try:
                return super().feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]
                head = self._head_without_offer()
                # The state of the connection, such as that it ends here, is that of the first reading.
                self._restart()
                super().feed_data(head)

    def _restart(self) -> None:
        super().__init__(self._receiver)
        # As in uvicorn: data after `Connection: close` is ignored, and no error.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def _head_without_offer(self) -> bytes:
        lines = [b"%b %b HTTP/%b" % (self.get_method(), self._receiver.url, self.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self._receiver.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
