"""Google's own addresses on this machine, for TensorFlow's file system of gs://, which knows no emulator.

It speaks to https://www.googleapis.com and https://storage.googleapis.com by libcurl, which takes a proxy and a CA from
variables (`https_proxy`; `CURL_CA_BUNDLE` in tsl/platform/cloud/curl_http_request.cc), and a token from
GOOGLE_AUTH_TOKEN_FOR_TESTING (tsl/platform/cloud/google_auth_provider.cc). This is that proxy: it answers as Google
does, by the emulator. It also gives tokens to a service account, so that Python's clients need no `anonymous@`, which
TensorFlow would take for a part of the bucket's name.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from slipway.remote.google import _connect
from tests.fakes.storage_server import BUCKET, StorageServer

HOSTS = ("www.googleapis.com", "storage.googleapis.com")


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, store: StorageServer, tls: ssl.SSLContext) -> None:
        self.store, self.tls = store, tls
        super().__init__(("localhost", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def do_CONNECT(self) -> None:
        if self.path not in {f"{host}:443" for host in HOSTS}:
            self.send_error(403, f"{self.path} is not Google Storage")
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def do_GET(self) -> None:
        body, query = self._body(), parse_qs(urlsplit(self.path).query)
        if self.path == "/token":
            token = {"access_token": "token", "token_type": "Bearer", "expires_in": 3600}
            return self._answer(200, {"Content-Type": "application/json"}, json.dumps(token).encode())
        if query.get("uploadType") == ["media"] and not body:
            # The mark of a folder: the emulator fails on an upload without a body.
            self.server.store.put(query["name"][0], b"")
            return self._answer(200, {"Content-Type": "application/json"}, b"{}")
        if self.path == f"/storage/v1/b/{BUCKET}/storageLayout":
            # TensorFlow asks before it renames a folder; the emulator does not know it:
            # https://cloud.google.com/storage/docs/json_api/v1/buckets/getStorageLayout
            layout = {"kind": "storage#storageLayout", "bucket": BUCKET, "hierarchicalNamespace": {"enabled": False}}
            return self._answer(200, {"Content-Type": "application/json"}, json.dumps(layout).encode())
        ours = {"host", "accept-encoding", "transfer-encoding", "content-length", "expect", "connection"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ours}
        connection = HTTPConnection("localhost", self.server.store.port)
        connection.request(self.command, self.path, body, {**headers, "Host": self.headers["Host"]})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        kept = {name: value for name, value in response.headers.items() if name.lower() in ("content-type", "location")}
        if "Location" in kept:  # where a resumable upload goes on
            kept["Location"] = kept["Location"].replace("http://", "https://")
        return self._answer(response.status, kept, content)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _body(self) -> bytes:
        """TensorFlow names a length beside chunks, of which the chunks count."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def google_https(store: StorageServer, folder: Path) -> Iterator[None]:
    """The variables by which processes started meanwhile, and this one, find the emulator behind plain gs://."""
    certificate, key, account = (folder / name for name in ("google.pem", "google.key", "account.json"))
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=Google",
             "-addext", f"subjectAltName={names}", "-keyout", key, "-out", certificate)  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with _Proxy(store, tls) as server, pytest.MonkeyPatch.context() as environment:
        address = f"http://localhost:{server.server_port}"
        login = {"type": "service_account", "project_id": "test", "client_email": "steps@test.iam.gserviceaccount.com",
                 "private_key_id": "1", "private_key": key.read_text(), "token_uri": f"{address}/token"}  # fmt: skip
        account.write_text(json.dumps(login))
        for name, value in {
            "https_proxy": address,
            "no_proxy": "localhost,127.0.0.1",
            "CURL_CA_BUNDLE": str(certificate),
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
            "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        }.items():
            environment.setenv(name, value)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            _connect.cache_clear()  # the next test has another login


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
