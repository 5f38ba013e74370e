"""Bodies of HTTP requests: read whole, within one limit for all requests in flight."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from serving.protocol.http_server import Message, Receive


class Refusal(NamedTuple):
    """The answer to a body that is not taken."""

    status: int
    text: str


class Bodies:
    """Counts the bodies that are held in memory; the limit is in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held_bytes = 0

    @contextmanager
    def hold(self) -> Iterator[HeldBody]:
        """The body of one request, which counts until the end of the block."""
        body = HeldBody(self)
        try:
            yield body
        finally:
            self.held_bytes -= body.size


class HeldBody:
    """What one request holds."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0

    def add(self, size: int) -> Refusal | None:
        """Counts more bytes, also if they are refused: they are in memory until the end of the block."""
        self.size += size
        self._bodies.held_bytes += size
        limit = self._bodies.limit
        if self.size > limit:
            return _too_large(self.size, limit)
        if self._bodies.held_bytes > limit:
            text = f"the bodies of all requests have more than {limit} bytes"
            return Refusal(503, f"The server is busy: {text}; send the request again later")
        return None

    async def read(self, scope: Message, receive: Receive) -> bytes | Refusal | None:
        """The body, or a refusal; None if the client goes before the body is complete."""
        announced = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
        if announced > self._bodies.limit:
            return _too_large(announced, self._bodies.limit)
        whole = io.BytesIO()
        while (message := await receive())["type"] != "http.disconnect":
            chunk = message.get("body", b"")
            if refusal := self.add(len(chunk)):
                return refusal
            if not message.get("more_body") and not whole.tell():
                return bytes(chunk)
            whole.write(chunk)
            if not message.get("more_body"):
                return whole.getvalue()
        return None


def _too_large(size: int, limit: int) -> Refusal:
    return Refusal(413, f"The body has {size} bytes, this server takes {limit}: send smaller batches")
