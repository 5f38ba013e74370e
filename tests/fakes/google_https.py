"""Google's own addresses on this machine, for TensorFlow's file system of gs://, which knows no emulator.

It speaks to https://www.googleapis.com and https://storage.googleapis.com by libcurl, which takes a proxy and a CA from
variables (`https_proxy`; `CURL_CA_BUNDLE` in xla/tsl/platform/cloud/curl_http_request.cc), and a token from
GOOGLE_AUTH_TOKEN_FOR_TESTING (xla/tsl/platform/cloud/google_auth_provider.cc). This is that proxy: it answers as Google
does, by the emulator, and refuses a request without the token. Python's clients ask the emulator itself, which
STORAGE_EMULATOR_HOST names; they get tokens for a service account here, so that they need no `anonymous@`, which
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

HOSTS = ("www.googleapis.com", "storage.googleapis.com", "iamcredentials.googleapis.com")


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, store: StorageServer, tls: ssl.SSLContext) -> None:
        self.store, self.tls = store, tls
        self.uploads: list[str] = []
        super().__init__(("localhost", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def do_CONNECT(self) -> None:
        if self.path not in {f"{host}:443" for host in HOSTS}:
            self.send_error(403, f"{self.path} is none of Google's hosts that a step asks")
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # the server closes the socket that it accepted, and TLS has another

    def do_GET(self) -> None:
        body, query = self._body(), parse_qs(urlsplit(self.path).query)
        if self.path == "/token":
            token = {"access_token": "token", "token_type": "Bearer", "expires_in": 3600}
            return self._answer(200, {"Content-Type": "application/json"}, json.dumps(token).encode())
        if self.headers["Authorization"] != "Bearer token":
            return self._answer(401, {}, b"")
        if self.path.endswith("/allowedLocations"):
            # google-auth asks for the boundary of an account, which needs iam.serviceAccounts.get; steps have it not:
            # https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/getAllowedLocations
            return self._answer(403, {}, b"")
        if self.command == "POST" and "name" in query:
            self.server.uploads += query["name"]
        if query.get("uploadType") == ["media"] and not body:
            # The mark of a folder: the emulator fails on an upload without a body.
            self.server.store.put(query["name"][0], b"")
            return self._answer(200, {"Content-Type": "application/json"}, b"{}")
        if self.path == f"/storage/v1/b/{BUCKET}/storageLayout":
            # TensorFlow asks before it renames a folder (xla/tsl/platform/cloud/gcs_file_system.cc); the emulator does
            # not know it:
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
def google_https(store: StorageServer, folder: Path) -> Iterator[list[str]]:
    """The variables by which processes started meanwhile, and this one, find the emulator behind plain gs://.

    Answers the names of the objects that TensorFlow uploads; Python's clients name theirs in the body.
    """
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
            "REQUESTS_CA_BUNDLE": str(certificate),
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
            "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        }.items():
            environment.setenv(name, value)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.uploads
        finally:
            server.shutdown()
            thread.join()
            _connect.cache_clear()  # the next test has another login


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
