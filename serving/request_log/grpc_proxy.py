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
from collections import Counter

import grpc

from serving.protocol.limits import (
    CALL_SILENCE_SECONDS,
    MAX_CONNECTIONS,
    MAX_STREAMS,
    SILENCE_IN_A_CROWD_SECONDS,
)
from serving.request_log.grpc_calls import Calls, Copies
from serving.request_log.grpc_sides import PATIENCE_SECONDS, Side
from serving.request_log.http2 import (
    HEADER_TABLE_SIZE,
    LAST_STREAM,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    PREFACE,
    TABLE_BYTES,
    BrokenConnectionError,
    FrameReader,
    go_away,
)
from serving.request_log.log import RequestLog

LOGGER = logging.getLogger("slipway.request_log")

_CONNECT_SECONDS = 5.0
# For the first bytes of a client.
_FIRST_SECONDS = 10.0
# After so long, a connection without its first bytes may make room for another one.
_BEGIN_SECONDS = 1.0
# For the last bytes to a client whose connection makes room for another one.
_EVICTION_SECONDS = 0.2
# Between two lines on connections that are refused.
_WARNING_SECONDS = 1.0


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
        self._refused, self._warned = 0, -_WARNING_SECONDS

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
        """Whether there is room for a new connection; another one may make room."""
        if len(self._connections) >= MAX_CONNECTIONS:
            spare = self._find_spare(connection)
            if spare is None:
                self._warn()
                return False
            spare.retire(_EVICTION_SECONDS, f"this connection made room: {MAX_CONNECTIONS} are open")
            self.forget(spare)
        self._connections.add(connection)
        return True

    def _find_spare(self, newcomer: _Connection) -> _Connection | None:
        """The quietest without a call, or with silent calls, or of another address that has more than half of all."""
        [(address, count)] = Counter(each.address for each in self._connections).most_common(1)
        is_crowd = count > MAX_CONNECTIONS // 2 and address != newcomer.address
        spare = (
            [each for each in self._connections if each.is_idle()]
            or [each for each in self._connections if each.silence >= SILENCE_IN_A_CROWD_SECONDS]
            or [each for each in self._connections if is_crowd and each.address == address]
        )
        return max(spare, key=lambda each: each.silence, default=None)

    def _warn(self) -> None:
        self._refused += 1
        if (now := time.monotonic()) - self._warned >= _WARNING_SECONDS:
            LOGGER.warning(
                "gRPC connections refused: %d; %d are open, each with a call or new", self._refused, MAX_CONNECTIONS
            )
            self._refused, self._warned = 0, now

    def forget(self, connection: _Connection) -> None:
        """A connection is over."""
        self._connections.discard(connection)


class _Connection:
    """A client's socket, the one to the upstream, and the calls on them."""

    def __init__(self, proxy: GrpcProxy) -> None:
        self._proxy = proxy
        self._calls = Calls(proxy.copies)
        table = {HEADER_TABLE_SIZE: TABLE_BYTES}
        self.client = Side(self, FrameReader(self._calls.requests, table, PREFACE))
        self._upstream = Side(self, FrameReader(self._calls.answers, {**table, MAX_CONCURRENT_STREAMS: MAX_STREAMS}))
        self.client.other, self._upstream.other = self._upstream, self.client
        self._loop = asyncio.get_running_loop()
        self._opening: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._is_draining = self._is_told = False

    @property
    def address(self) -> str:
        """The client's, without its port."""
        return self.client.address

    @property
    def silence(self) -> float:
        """The seconds since a part of a call passed, or since it began."""
        return time.monotonic() - self._calls.heard

    def is_idle(self) -> bool:
        """Whether it has no call, has begun or had the time to, and is not being closed."""
        begun = self.client.frames.has_begun or self.silence > _BEGIN_SECONDS
        return begun and not self._calls.open and not self.client.is_closing()

    def on_open(self, side: Side) -> None:
        """A socket is open."""
        if side is not self.client:
            if self.client.is_closing():
                side.abort()
            else:
                self.client.resume_reading()
        elif self._proxy.admit(self):
            self._opening = self._loop.create_task(self._open())
        else:
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
            self._watch = self._loop.call_later(_FIRST_SECONDS, self._look)

    def _look(self) -> None:
        """Ends the connection if its client says nothing; looks again when it may have been silent for too long."""
        left = CALL_SILENCE_SECONDS - (self.silence if self._calls.open else 0.0)
        if not self.client.frames.has_begun:
            self.client.close()
        elif left <= 0:
            self.retire(why=f"no part of a call passed for {CALL_SILENCE_SECONDS:g} seconds")
        else:
            self._watch = self._loop.call_later(left, self._look)

    def on_passed(self) -> None:
        """Bytes have passed in one direction."""
        if self._is_draining:
            self.drain()

    def on_broken(self, side: Side, error: BrokenConnectionError) -> None:
        """What came from a side cannot be passed on."""
        LOGGER.debug("a gRPC connection ends: %s", error)
        if side is self.client:
            self.retire(why=str(error), code=error.code)
        else:
            self.client.close()

    def on_lost(self, side: Side) -> None:
        """A socket is closed; the client still gets what has come from the upstream."""
        if side is self.client:
            self._calls.end_all(grpc.StatusCode.CANCELLED)
            self._proxy.forget(self)
            for pending in (self._opening, self._watch):
                if pending:
                    pending.cancel()
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

    def retire(self, seconds: float = PATIENCE_SECONDS, why: str = "", code: int = NO_ERROR) -> None:
        """Ends a connection; a call on it learns why, and the client makes another one for those on their way."""
        if self._upstream.frames.is_between_frames:
            last = self._calls.last_stream
            self.client.write(self._calls.give_up(why) + go_away(last, code, why))
        self.client.close(seconds)
