"""Posts to a real HTTP server on loopback, whole and broken."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from slipway.runs.notifications import send
from slipway.runs.notifications.config import Notifications, Webhook
from slipway.runs.notifications.message import Message
from slipway.runs.notifications.send import deliver, notify
from tests.fakes.loopback_server import Answer, LoopbackServer, Request
from tests.slipway.runs.notifications.mail_server import make_certificate

PATH = "/services/T0/B0/s3cr3t-t0ken"
MESSAGE = Message(frozenset({"refused"}), "taxi: refused", ["auc 0.9 < 0.93 & falling"], "https://ui/?run=1", "details")


class Hook(LoopbackServer):
    """Takes what Slack takes."""

    def handle(self, request: Request) -> Answer:
        assert (request.method, request.path) == ("POST", PATH)
        assert set(json.loads(request.body)) == {"text"}
        return Answer(200, b"ok", "text/html")

    def refuse(self, status: int, message: str) -> Answer:
        return Answer(status, f"{message}: {PATH}".encode(), "text/html")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setattr(send, "PAUSE_SECONDS", 0.01)
    with Hook() as server:
        monkeypatch.setenv("WEBHOOK", server.url + PATH)
        yield server


def settings(timeout_seconds: float = 6) -> Notifications:
    return Notifications(webhook=Webhook(url="env:WEBHOOK"), timeout_seconds=timeout_seconds)


def test_webhook_gets_what_and_why_and_where_escaped(hook: Hook) -> None:
    assert notify(settings(), MESSAGE) == []
    text = json.loads(hook.requests[0].body)["text"]
    assert text == "[slipway] taxi: refused\n- auc 0.9 &lt; 0.93 &amp; falling\nhttps://ui/?run=1"


def test_webhook_is_not_asked_about_what_nobody_wants_to_know(hook: Hook) -> None:
    assert notify(settings(), Message(frozenset({"success"}), "taxi: pushed")) == []
    assert hook.requests == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_webhook_that_fails_for_a_moment_is_asked_again(hook: Hook, status: int) -> None:
    hook.fail("POST", PATH, status, times=2)
    assert deliver(settings(), MESSAGE) == []
    assert len(hook.requests) == 3


@pytest.mark.parametrize("status", [500, 404, 302])
def test_webhook_that_refuses_is_told_without_its_address(
    hook: Hook, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    hook.fail("POST", PATH, status, times=9)
    (problem,) = notify(settings(), MESSAGE)
    assert f"answers {status}" in problem
    assert f"warning: {problem}" in capsys.readouterr().out
    assert "s3cr3t" not in problem
    assert len(hook.requests) == (3 if status == 500 else 1)


def test_webhook_that_hangs_takes_no_longer_than_its_time(hook: Hook) -> None:
    hook.hang("POST", PATH, 1.5, times=9)
    (problem,) = deliver(settings(0.6), MESSAGE)
    assert "was not sent" in problem
    assert "s3cr3t" not in problem


def test_webhook_that_answers_a_byte_at_a_time_takes_no_longer_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Drip(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for _ in range(22):
                self.wfile.write(b"H")
                time.sleep(0.05)

    server = HTTPServer(("127.0.0.1", 0), Drip)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    monkeypatch.setenv("WEBHOOK", f"http://127.0.0.1:{server.server_port}{PATH}")
    [problem] = deliver(settings(0.6), MESSAGE)
    assert "no answer in time" in problem
    thread.join()
    server.server_close()


def test_webhook_with_an_unknown_certificate_is_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(send, "PAUSE_SECONDS", 0.01)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path))
    with Hook() as server:
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        monkeypatch.setenv("WEBHOOK", server.url.replace("http", "https").replace("127.0.0.1", "localhost") + PATH)
        (problem,) = deliver(settings(), MESSAGE)
        assert "CERTIFICATE_VERIFY_FAILED" in problem
        assert "notifications.ca_file" in problem
        assert "s3cr3t" not in problem
        assert server.requests == []
        trusting = settings().model_copy(update={"ca_file": str(tmp_path / "localhost.pem")})
        assert deliver(trusting, MESSAGE) == []


@pytest.mark.parametrize("address", ["ftp://host" + PATH, "s3cr3t", "https://host:s3cr3t/x"])
def test_webhook_whose_address_is_none_is_told_without_it(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("WEBHOOK", address)
    (problem,) = deliver(settings(), MESSAGE)
    assert "env:WEBHOOK holds no address" in problem
    assert "s3cr3t" not in problem


def test_webhook_address_is_in_no_log_though_a_step_logs_all(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert deliver(settings(), MESSAGE) == []
    assert "s3cr3t" not in caplog.text


def test_one_broken_channel_keeps_no_other_from_being_told(hook: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    content = {"webhook": {"url": "env:WEBHOOK"}, "stdout": True, "timeout_seconds": 3,
               "email": {"host": "127.0.0.1", "port": 9, "sender": "a@b.c", "recipients": ["d@e.f"]}}  # fmt: skip
    (problem,) = deliver(Notifications.model_validate(content), MESSAGE)
    assert "by email" in problem
    assert len(hook.requests) == 1
    assert capsys.readouterr().out == MESSAGE.text() + "\n"
