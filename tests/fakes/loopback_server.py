"""An HTTP server on loopback for fakes of remote services: it keeps what was asked, and can be told to fail."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit


class Refused(Exception):  # noqa: N818 - what a service does
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Request(NamedTuple):
    """What a client asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"{self.method} {self.path}"


class Answer(NamedTuple):
    """What the server says."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Fault:
    """A failure for the next requests that match; `done` means that the work is done and only its answer lost."""

    method: str
    path: str
    answer: Answer | None
    times: int
    done: bool = False
    seconds: float = 0.0

    def takes(self, request: Request) -> bool:
        return bool(self.times and request.method == self.method and re.fullmatch(self.path, request.path))


@dataclass
class LoopbackServer:
    """Answers with `handle`; a subclass is a service."""

    requests: list[Request] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    faults: list[Fault] = field(default_factory=list)

    def handle(self, request: Request) -> Answer:
        raise NotImplementedError

    def refuse(self, status: int, message: str) -> Answer:
        """The service's own form of an error."""
        raise NotImplementedError

    def fail(self, method: str, path: str, status: int, *, times: int = 1, done: bool = False) -> None:
        """Makes requests fail; `path` is a regular expression for all of it."""
        self.faults.append(Fault(method, path, self.refuse(status, f"made to answer {status}"), times, done))

    def hang(self, method: str, path: str, seconds: float, *, times: int = 1) -> None:
        """Does the work, but answers too late."""
        self.faults.append(Fault(method, path, None, times, done=True, seconds=seconds))

    def answer(self, method: str, path: str, answer: Answer, *, times: int = 1) -> None:
        """Answers something else."""
        self.faults.append(Fault(method, path, answer, times))

    def asked(self, method: str, path: str) -> list[Request]:
        """The requests of one kind so far."""
        return [one for one in self.requests if one.method == method and re.fullmatch(path, one.path)]

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._respond))
        self._server.daemon_threads = True
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _respond(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            fault = next((fault for fault in self.faults if fault.takes(request)), None)
            if fault:
                fault.times -= 1
            answer = self._work(request) if fault is None or fault.done else None
        if fault and fault.seconds:
            threading.Event().wait(fault.seconds)
        failed = fault.answer if fault else None
        found = failed or answer
        assert found is not None
        return found

    def _work(self, request: Request) -> Answer:
        try:
            return self.handle(request)
        except Refused as refused:
            return self.refuse(refused.status, refused.message)


def _handler(respond: Callable[[Request], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece: the second of two waits 40 ms for the first's acknowledgement

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            address = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(address.query, keep_blank_values=True))
            answer = respond(Request(self.command, address.path, query, headers, self.rfile.read(length)))
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client did not wait

        do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler
