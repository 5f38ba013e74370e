"""A proxy before a store on this machine: makes faults.

Before the Cloud Storage emulator, it also keeps the preconditions that the emulator ignores; before S3 it is
`tests/fakes/s3_server.py`'s.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.fakes.storage_server import BUCKET

Kind = Literal["status", "reset", "lost", "cut", "slow", "stall", "corrupt"]


@dataclass
class Fault:
    """What happens to requests.

    Attributes:
        kind: `status` answers it instead of the store; `reset` breaks the connection before the store hears of the
            request, `lost` after it did what was asked; `cut` breaks it in the middle of the answer's body, `stall`
            stops there, `slow` takes half a second for it, `corrupt` changes a byte of it.
        status: The answer of `status`.
        on: A pattern (`re.search`) in `METHOD object`; a listing is `GET ?query`.
        after: How many of these requests pass before.
        times: How many it befalls.
    """

    kind: Kind
    status: int = 503
    on: str = ""
    after: int = 0
    times: float = float("inf")
    seen: int = field(default=0, init=False)

    def befalls(self, request: str) -> bool:
        if not re.search(self.on, request):
            return False
        self.seen += 1
        return self.after < self.seen <= self.after + self.times


class Named(NamedTuple):
    """What a request asks for."""

    method: str
    name: str  # of the object, or the listing's query after a question mark
    precondition: str | None


class FaultProxy:
    """Listens on loopback.

    Attributes:
        requests: Every request that came, as `METHOD object`.
        sent: Bytes of the bodies that answered them.
    """

    def __init__(self, server_port: int) -> None:
        self.requests: list[str] = []
        self.sent: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.server_port = server_port
        self.ages: list[tuple[str, float]] = []
        # A resumable upload's precondition holds when its last byte comes.
        self.uploads: dict[str, tuple[str, str | None]] = {}
        proxy = self

        class Handler(_Handler):
            server_proxy = proxy

        self._server = _Server(("localhost", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def uri(self, path: str, retry_seconds: float = 2) -> str:
        """The URI of an object, through the proxy."""
        query = f"scheme=http&endpoint_override=localhost:{self.port}&retry_limit_seconds={retry_seconds}"
        return f"gs://anonymous@{BUCKET}/{path}?{query}"

    def inject(
        self, kind: Kind, *, status: int = 503, on: str = "", after: int = 0, times: float = float("inf")
    ) -> Fault:
        """Adds a fault; the first one that befalls a request counts."""
        fault = Fault(kind, status, on, after, times)
        with self.lock:
            self.faults.append(fault)
        return fault

    def make_older(self, name: str, seconds: float) -> None:
        """From now on, the store says that the objects whose names match a pattern were written so much earlier."""
        self.ages.append((name, seconds))

    def aged(self, name: str, response: HTTPResponse, content: bytes) -> bytes:
        """A listing, or the description of an object, with what `make_older` asked for."""
        if response.headers.get_content_type() != "application/json" or response.status != 200:
            return content
        found = json.loads(content)
        for item in found.get("items", []) if name.startswith("?") else [found]:
            for name, seconds in self.ages:
                if re.search(name, item["name"]):
                    written = datetime.fromisoformat(item["timeCreated"]) - timedelta(seconds=seconds)
                    item["timeCreated"] = written.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return json.dumps(found).encode()

    def named(self, method: str, path: str, body: bytes | None) -> Named:
        """What a request asks for; NotImplementedError for a precondition that the proxy does not keep."""
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if "upload_id" in query:
            return Named(method, *self.uploads[query["upload_id"]])
        unknown = [name for name in query if name.startswith("if") and name != "ifGenerationMatch"]
        if unknown:
            raise NotImplementedError(f"{unknown} in {path}")
        if url.path.startswith("/upload/"):
            found = re.search(rb'"name": ?("(?:[^"\\]|\\.)*")', body or b"")
            name = query.get("name") or (json.loads(found[1]) if found else "")
        else:
            name = unquote(url.path.rpartition("/o/")[2]) if "/o/" in url.path else f"?{unquote(url.query)}"
        return Named(method, name, query.get("ifGenerationMatch"))

    def refusal(self, status: int) -> tuple[str, bytes]:
        """Type and content of the answer with a status that is a fault."""
        error = {"code": status, "message": "the proxy says so"}
        return "application/json", json.dumps({"error": error}).encode()

    def speak_tls(self, certificate: Path, key: Path) -> None:
        """From now on, listens with a certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def heal(self) -> None:
        """From now on, nothing goes wrong."""
        with self.lock:
            self.faults.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault(self, request: str) -> Fault | None:
        """Records a request; what befalls it."""
        with self.lock:
            self.requests.append(request)
            return next((fault for fault in self.faults if fault.befalls(request)), None)

    def forward(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        """The store's answer."""
        connection = HTTPConnection("localhost", self.server_port, timeout=30)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def generation(self, name: str) -> str:
        """The generation of an object; `0` where there is none."""
        response, content = self.forward("GET", f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}", None, {})
        return str(json.loads(content)["generation"]) if response.status == 200 else "0"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a connection that finds the queue full is tried again a second later


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # 40 ms a request otherwise
    server_proxy: FaultProxy

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the client gave up
            self.close_connection = True

    def do_GET(self) -> None:
        proxy = self.server_proxy
        body = self._body()
        method, name, precondition = proxy.named(self.command, self.path, body)
        fault = proxy.fault(f"{method} {name or self.path}")
        if fault and fault.kind == "status":
            self._send(fault.status)
            return
        if fault and fault.kind == "reset":
            self._break()
            return
        with proxy.lock:  # nobody comes between the check and the deed
            if precondition is not None and proxy.generation(name) != precondition:
                self._send(412)
                return
            response, content = proxy.forward(self.command, self.path, body, dict(self.headers.items()))
            proxy.sent[f"{method} {name}"] += len(content)
        location = response.getheader("Location")
        if location and "upload_id=" in location:
            upload = parse_qs(urlsplit(location).query)["upload_id"][0]
            proxy.uploads[upload] = (name, precondition)
        if proxy.ages and method == "GET" and "alt=media" not in self.path and "/download/" not in self.path:
            content = proxy.aged(name, response, content)
        self._answer(response, content, fault)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET  # noqa: N815

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length")
        if self.headers.get("Transfer-Encoding"):
            raise NotImplementedError("chunked requests")
        return self.rfile.read(int(length)) if length else None

    def _answer(self, response: HTTPResponse, content: bytes, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        if kind == "lost":
            self._break()
            return
        if kind == "corrupt" and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        self.send_response(response.status)
        for header, value in response.getheaders():
            if header.lower() not in ("content-length", "date", "server", "connection"):
                self.send_header(header, value)
        # What a HEAD is about has a length, though nothing comes.
        length = response.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        half = len(content) // 2
        if kind in ("cut", "stall"):
            self.wfile.write(content[:half])
            self.wfile.flush()
            if kind == "stall":
                self.connection.settimeout(20)
                self.rfile.read(1)  # until the client hangs up
            self._break()
        elif kind == "slow":
            step = max(len(content) // 20, 1)
            for start in range(0, len(content), step):
                self.wfile.write(content[start : start + step])
                self.wfile.flush()
                time.sleep(0.02)
        else:
            self.wfile.write(content)

    def _send(self, status: int) -> None:
        content_type, body = self.server_proxy.refusal(status)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _break(self) -> None:
        """Ends the connection with a reset, as a router that dies does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
