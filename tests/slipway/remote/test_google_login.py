"""Whose credentials these are: in the credentials themselves, told by Google, or not told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest
from google.auth.credentials import AnonymousCredentials

from slipway.remote import google_login


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The token endpoint, which knows one token; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            is_known = asked == {"access_token": ["ann's"]}
            self.send_response(200 if is_known else 400)
            self.end_headers()
            told = {"email": "ann@example.com"} if is_known else {"error": "invalid_token"}
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setattr(google_login, "WHOSE", f"http://127.0.0.1:{server.server_port}/tokeninfo")
    yield google_login.WHOSE
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("google")
@pytest.mark.parametrize(
    ("credentials", "email"),
    [
        (SimpleNamespace(valid=True, token="x", service_account_email="ci@p.iam.gserviceaccount.com"), "ci@p.iam.gser"),
        (SimpleNamespace(valid=True, token="ann's"), "ann@example.com"),
        (SimpleNamespace(valid=True, token="x", service_account_email="default"), ""),
        (AnonymousCredentials(), ""),  # type: ignore[no-untyped-call]
    ],
    ids=["service account", "person", "unknown", "emulator"],
)
def test_email_is_the_accounts_or_empty(credentials: object, email: str) -> None:
    found = google_login.email(credentials)
    assert found.startswith(email)
    assert bool(found) == bool(email)


def test_email_where_google_does_not_answer_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_login, "WHOSE", "http://127.0.0.1:9/tokeninfo")
    assert google_login.email(SimpleNamespace(valid=True, token="ann's")) == ""
