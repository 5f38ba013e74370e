"""HTTP as a client sends it, whole or broken, by hand."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class HttpAnswer(NamedTuple):
    """Status, headers (lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of an error, which has the contract's form."""
        document = self.json
        assert document.keys() == {"error"}
        assert self.headers["content-type"] == "application/json"
        assert isinstance(document["error"], str)
        return str(document["error"])


class Connection:
    """One connection; `ask` sends a request and reads the answer."""

    def __init__(self, port: int, timeout: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._rest = bytearray()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> HttpAnswer:
        """The next answer."""
        while b"\r\n\r\n" not in self._rest:
            self._receive()
        end = self._rest.index(b"\r\n\r\n")
        lines = self._take(end + 4).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        size = int(headers["content-length"])
        while len(self._rest) < size:
            self._receive()
        return HttpAnswer(int(lines[0].split()[1]), headers, self._take(size))

    def ask(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> HttpAnswer:
        self.send(request(method, path, body, **headers))
        return self.read()

    def seconds_until_closed(self, limit: float) -> float:
        """How long the server keeps the connection, reading whatever it says."""
        begin = time.monotonic()
        self.socket.settimeout(limit)
        while self.socket.recv(65536):
            pass
        return time.monotonic() - begin

    def close(self) -> None:
        self.socket.close()

    def _receive(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError(f"closed after {len(self._rest)} bytes: {bytes(self._rest[:200])!r}")
        self._rest += data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken


@contextmanager
def connected(port: int, timeout: float = 20.0) -> Iterator[Connection]:
    connection = Connection(port, timeout)
    try:
        yield connection
    finally:
        connection.close()


def request(method: str, path: str, body: bytes | str = b"", **headers: str) -> bytes:
    """One request's bytes; underscores in names of headers are hyphens."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


def ask(port: int, method: str, path: str, body: bytes | str = b"", **headers: str) -> HttpAnswer:
    """One request on a connection of its own."""
    with connected(port) as connection:
        return connection.ask(method, path, body, **headers)
