"""One of the two sockets of a gRPC connection that passes through."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

from serving.protocol.limits import MAX_UNSENT_BYTES, SOCKET_BYTES
from serving.request_log.http2 import BrokenConnectionError, FrameReader

# For the last bytes.
PATIENCE_SECONDS = 10.0
# A peer that is gone without a word is asked after 60 seconds, and one that takes nothing is given up after 90.
_SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 90_000),  # milliseconds
)


class Connection(Protocol):
    """Hears of its two sockets."""

    def on_open(self, side: Side) -> None:
        """A socket is open."""

    def on_passed(self) -> None:
        """Bytes have passed in one direction."""

    def on_broken(self, side: Side, error: BrokenConnectionError) -> None:
        """What came from a side cannot be passed on."""

    def on_lost(self, side: Side) -> None:
        """A socket is closed."""


class Side(asyncio.Protocol):
    """One of the two sockets of a connection; until it is open, what the other one has read waits for it.

    Args:
        connection: Hears of the socket.
        frames: Reads what comes, and says what the other side is to send.
    """

    other: Side

    def __init__(self, connection: Connection, frames: FrameReader) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._waiting = b""
        self._last: asyncio.TimerHandle | None = None
        self.frames = frames
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        self._transport.set_write_buffer_limits(MAX_UNSENT_BYTES)
        for level, option, value in _SOCKET_OPTIONS:
            number = getattr(socket, option, None) if isinstance(option, str) else option  # some are Linux's own
            if number is not None:
                transport.get_extra_info("socket").setsockopt(level, number, value)
        self.address = (transport.get_extra_info("peername") or ("",))[0]
        self._connection.on_open(self)
        self.write(self._waiting)  # last, as it may pause the other side's reading
        self._waiting = b""

    def data_received(self, data: bytes) -> None:
        """Passes on what came."""
        try:
            passed = self.frames.feed(data)
        except BrokenConnectionError as error:
            self._connection.on_broken(self, error)
        else:
            self.other.write(passed)
            self._connection.on_passed()

    def pause_writing(self) -> None:
        """This side does not take more for now."""
        self.other.pause_reading()

    def resume_writing(self) -> None:
        """This side takes more again."""
        self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if self._last:
            self._last.cancel()
        self._connection.on_lost(self)

    def is_closing(self) -> bool:
        """Whether nothing can be sent: not yet, or no more."""
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Sends, now or when the socket is open."""
        if self._transport is None:
            self._waiting += data
            self.other.pause_reading()
        elif not self.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Takes no more from the socket for now."""
        if self._transport and not self.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Takes more from the socket again."""
        if self._transport and not self.is_closing():
            self._transport.resume_reading()

    def close(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Closes the socket when it has taken what is left, or after so many seconds."""
        if self._transport and not self.is_closing():
            if self._transport.get_write_buffer_size():
                self._last = asyncio.get_running_loop().call_later(seconds, self._transport.abort)
            self._transport.close()

    def abort(self) -> None:
        """Closes the socket at once."""
        if self._transport:
            self._transport.abort()
