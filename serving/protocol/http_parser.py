"""httptools' parser for a server that speaks HTTP/1.1 only."""

from __future__ import annotations

from array import array
from typing import Protocol

import httptools


class Receiver(Protocol):
    """The fields that the parser's callbacks fill while it reads a head."""

    url: bytes
    headers: list[tuple[bytes, bytes]]


class HttpParser(httptools.HttpRequestParser):
    """Reads a request that offers an upgrade, body included, as if it offered none (RFC 9110, 7.8).

    httptools ends such a request after its head, whatever its length, and would parse the body as the next request
    (`cb_on_headers_complete` in its parser.pyx). The head is therefore parsed twice: as it came, which the receiver has
    to ignore (`should_upgrade`), and without the offer. The receiver refuses CONNECT with an exception.

    Args:
        receiver: Has the callbacks.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._restart()

    def feed_data(self, data: bytes | bytearray | memoryview | array[int]) -> None:
        """Parses data.

        Raises:
            httptools.HttpParserError: it is not HTTP, or a callback failed.
        """
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
