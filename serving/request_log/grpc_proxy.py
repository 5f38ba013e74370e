"""Passes gRPC connections through to TensorFlow Serving.

A connection is two sockets. Bytes pass as they come, and no faster than the other side takes them: memory grows with
the number of connections, which is bounded, and not with messages or calls.
docs/decisions/0063-grpc-passes-through-the-sidecar.md has the reasons.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import cast

import grpc

from serving.protocol.limits import MAX_CONNECTIONS, MAX_STREAMS, MAX_UNSENT_BYTES, SOCKET_BYTES
from serving.request_log.grpc_calls import Calls, Copies
from serving.request_log.http2 import (
    HEADER_TABLE_SIZE,
    LAST_STREAM,
    MAX_CONCURRENT_STREAMS,
    PREFACE,
    TABLE_BYTES,
    BrokenConnectionError,
    FrameReader,
    go_away,
)
from serving.request_log.log import RequestLog

LOGGER = logging.getLogger("slipway.request_log")

_CONNECT_SECONDS = 5.0
# For the first bytes of a client, and for the last ones to it.
_PATIENCE_SECONDS = 10.0
# After so long, a connection without its first bytes may make room for another one.
_BEGIN_SECONDS = 1.0
# For the last bytes to a client whose connection makes room for another one.
_EVICTION_SECONDS = 0.2


class GrpcProxy:
    """Accepts connections, and makes one to the upstream for each.

    Args:
        upstream: Host and port of TensorFlow Serving's gRPC.
        log: Gets predictions, and those that failed.
    """

    def __init__(self, upstream: tuple[str, int], log: RequestLog) -> None:
        self.upstream = upstream
        self.copies = Copies(log)
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accepts connections from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self).client, sock=listener)

    async def stop(self, seconds: float) -> None:
        """Accepts no more connections, and closes each when its calls are answered or the time is over."""
        if self._server:
            self._server.close()
        for connection in tuple(self._connections):
            connection.drain()
        until = time.monotonic() + seconds
        while self._connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for connection in tuple(self._connections):
            connection.client.abort()
        await asyncio.sleep(0)  # the log hears of calls that broke off

    def admit(self, connection: _Connection) -> bool:
        """Whether there is room for a new connection; the one that has been idle the longest makes room."""
        if len(self._connections) >= MAX_CONNECTIONS:
            idle = [each for each in self._connections if each.is_idle()]
            if not idle:
                return False
            longest = min(idle, key=lambda each: each.active)
            longest.retire(_EVICTION_SECONDS)
            self.forget(longest)
        self._connections.add(connection)
        return True

    def forget(self, connection: _Connection) -> None:
        """A connection is over."""
        self._connections.discard(connection)


class _Connection:
    """A client's socket, the one to the upstream, and the calls on them."""

    def __init__(self, proxy: GrpcProxy) -> None:
        self._proxy = proxy
        self._calls = Calls(proxy.copies)
        table = {HEADER_TABLE_SIZE: TABLE_BYTES}
        self.client = _Side(self, FrameReader(self._calls.requests, table, PREFACE))
        self._upstream = _Side(self, FrameReader(self._calls.answers, {**table, MAX_CONCURRENT_STREAMS: MAX_STREAMS}))
        self.client.other, self._upstream.other = self._upstream, self.client
        self._loop = asyncio.get_running_loop()
        self._opening: asyncio.Task[None] | None = None
        self._is_draining = self._is_told = False
        self.active = self._loop.time()

    def is_idle(self) -> bool:
        """Whether it has no call, has begun or had the time to, and is not being closed."""
        begun = self.client.frames.has_begun or self._loop.time() - self.active > _BEGIN_SECONDS
        return begun and not self._calls.open and not self.client.is_closing()

    def on_open(self, side: _Side) -> None:
        """A socket is open."""
        if side is not self.client:
            if self.client.is_closing():
                side.abort()
            else:
                self.client.resume_reading()
        elif self._proxy.admit(self):
            self._opening = self._loop.create_task(self._open())
        else:
            LOGGER.warning("a gRPC connection is refused: %d are open, each with a call or new", MAX_CONNECTIONS)
            side.abort()

    async def _open(self) -> None:
        host, port = self._proxy.upstream
        try:
            connecting = self._loop.create_connection(lambda: self._upstream, host, port)
            await asyncio.wait_for(connecting, _CONNECT_SECONDS)
        except (OSError, TimeoutError) as error:
            LOGGER.debug("TensorFlow Serving does not answer: %s", error)
            self.client.close()
        else:
            self._loop.call_later(_PATIENCE_SECONDS, self._expect_preface)

    def _expect_preface(self) -> None:
        if not self.client.frames.has_begun:
            self.close()

    def on_passed(self) -> None:
        """Bytes have passed in one direction."""
        self.active = self._loop.time()
        if self._is_draining:
            self.drain()

    def on_lost(self, side: _Side) -> None:
        """A socket is closed; the client still gets what has come from the upstream."""
        if side is self.client:
            self._calls.end_all(grpc.StatusCode.CANCELLED)
            self._proxy.forget(self)
            if self._opening:
                self._opening.cancel()
            self._upstream.abort()
        else:
            self._calls.end_all(grpc.StatusCode.UNAVAILABLE)
            self.client.close()

    def drain(self) -> None:
        """Tells the client to start no more calls here, and ends the connection after its last one."""
        self._is_draining = True
        if not self._calls.open:
            self.retire()
        elif not self._is_told and self._upstream.frames.is_between_frames:
            self._is_told = True
            self.client.write(go_away(LAST_STREAM))

    def retire(self, seconds: float = _PATIENCE_SECONDS) -> None:
        """Ends a connection without calls; the client makes another one for those that are on their way."""
        if self._upstream.frames.is_between_frames:
            self.client.write(go_away(self._calls.last_stream))
        self.client.close(seconds)

    def close(self) -> None:
        """Ends the connection."""
        self.client.close()


class _Side(asyncio.Protocol):
    """One of the two sockets of a connection; until it is open, what the other one has read waits for it."""

    other: _Side

    def __init__(self, connection: _Connection, frames: FrameReader) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._waiting = b""
        self.frames = frames

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        self._transport.set_write_buffer_limits(MAX_UNSENT_BYTES)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
        self._connection.on_open(self)
        self.write(self._waiting)  # last, as it may pause the other side's reading
        self._waiting = b""

    def data_received(self, data: bytes) -> None:
        try:
            passed = self.frames.feed(data)
        except BrokenConnectionError as error:
            LOGGER.debug("a gRPC connection ends: %s", error)
            self._connection.close()
        else:
            self.other.write(passed)
            self._connection.on_passed()

    def pause_writing(self) -> None:
        self.other.pause_reading()

    def resume_writing(self) -> None:
        self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.on_lost(self)

    def is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._waiting += data
            self.other.pause_reading()
        elif not self.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        if self._transport and not self.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport and not self.is_closing():
            self._transport.resume_reading()

    def close(self, seconds: float = _PATIENCE_SECONDS) -> None:
        """Closes the socket when it has taken what is left, or after so many seconds."""
        if self._transport and not self.is_closing():
            if self._transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(seconds, self._transport.abort)
            self._transport.close()

    def abort(self) -> None:
        """Closes the socket at once."""
        if self._transport:
            self._transport.abort()
