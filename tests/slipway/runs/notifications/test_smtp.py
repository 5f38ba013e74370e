"""E-mail to a real SMTP server on loopback, whole and broken."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.runs.notifications import send
from slipway.runs.notifications.config import Email, Notifications
from slipway.runs.notifications.message import Message
from slipway.runs.notifications.send import deliver, notify
from tests.slipway.runs.notifications.mail_server import PASSWORD, MailServer, make_certificate, open_mail_server

MESSAGE = Message(
    frozenset({"failure"}), "taxi: the run failed", ["trip_miles <b>dropped</b>"], "https://ui/runs/1", "all"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("SMTP_PASSWORD", PASSWORD)


@pytest.fixture
def mail(certificate: Path) -> Iterator[MailServer]:
    with open_mail_server(certificate, login=True) as server:
        yield server


def settings(port: int, certificate: Path | None = None, *, seconds: float = 6, **email: object) -> Notifications:
    content = {"host": "localhost", "port": port, "sender": "Slipway <slipway@example.com>",
               "recipients": ["ann@example.com", "bob@example.com"]} | email  # fmt: skip
    ca_file = str(certificate) if certificate else ""
    return Notifications(email=Email.model_validate(content), ca_file=ca_file, timeout_seconds=seconds)


LOGIN: dict[str, Any] = {"username": "slipway", "password": "env:SMTP_PASSWORD"}


def test_email_by_starttls_with_a_login_arrives_as_text_and_html(mail: MailServer, certificate: Path) -> None:
    assert notify(settings(mail.port, certificate, **LOGIN), MESSAGE) == []
    (received,) = mail.received
    assert mail.encrypted == [True]
    assert received["Subject"] == "[slipway] taxi: the run failed"
    assert [received["From"], received["To"]] == ["Slipway <slipway@example.com>", "ann@example.com, bob@example.com"]
    text, html = (received.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert text.get_content().splitlines()[1:] == ["- trip_miles <b>dropped</b>", "https://ui/runs/1", "", "all"]
    assert "<li>trip_miles &lt;b&gt;dropped&lt;/b&gt;</li>" in html.get_content()
    assert '<a href="https://ui/runs/1">' in html.get_content()


def test_email_by_tls_arrives(certificate: Path) -> None:
    with open_mail_server(certificate, login=True, tls_only=True) as server:
        assert deliver(settings(server.port, certificate, security="tls", **LOGIN), MESSAGE) == []
        assert server.encrypted == [True]


def test_email_without_encryption_or_login_arrives() -> None:
    with open_mail_server(None) as server:
        assert deliver(settings(server.port, security="none"), MESSAGE) == []
        assert server.encrypted == [False]


def test_email_subject_with_a_line_break_adds_no_header(mail: MailServer, certificate: Path) -> None:
    message = Message(frozenset(), "taxi\r\nBcc: eve@example.com\n\nfailed ü", ["x"])
    assert deliver(settings(mail.port, certificate, **LOGIN), message) == []
    assert mail.received[0]["Subject"] == "[slipway] taxi Bcc: eve@example.com failed ü"
    assert mail.received[0]["Bcc"] is None


def test_email_with_a_wrong_password_names_its_reference_and_not_the_password(
    mail: MailServer, certificate: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2-wrong\n")
    (problem,) = deliver(settings(mail.port, certificate, username="slipway", password=f"file:{secret}"), MESSAGE)
    assert f"login of slipway (535): is file:{secret}" in problem
    assert "hunter2" not in problem
    assert mail.received == []


def test_email_to_a_server_with_an_unknown_certificate_is_not_sent(mail: MailServer) -> None:
    (problem,) = deliver(settings(mail.port, None, **LOGIN), MESSAGE)
    assert "CERTIFICATE_VERIFY_FAILED" in problem
    assert "notifications.ca_file" in problem


def test_email_to_a_server_with_another_names_certificate_is_not_sent(tmp_path: Path) -> None:
    other = make_certificate(tmp_path, "mail.example.com")
    with open_mail_server(other, login=True) as server:
        (problem,) = deliver(settings(server.port, other, **LOGIN), MESSAGE)
        assert "Hostname mismatch" in problem
        assert server.received == []


def test_email_to_a_server_without_starttls_is_never_sent_in_the_clear() -> None:
    with open_mail_server(None) as server:
        (problem,) = deliver(settings(server.port), MESSAGE)
        assert "STARTTLS extension not supported" in problem
        assert "notifications.email.security" in problem
        assert server.received == []


def test_email_that_is_put_off_is_sent_again(certificate: Path) -> None:
    with open_mail_server(certificate, answers=["451 come back later", "421 busy"]) as server:
        assert deliver(settings(server.port, certificate), MESSAGE) == []
        assert len(server.received) == 1


def test_email_that_is_refused_is_not_sent_again(certificate: Path) -> None:
    with open_mail_server(certificate, answers=["554 this is spam", "250 OK"]) as server:
        (problem,) = deliver(settings(server.port, certificate), MESSAGE)
        assert "554 this is spam" in problem
        assert server.answers == ["250 OK"]


@pytest.mark.parametrize("unknown", [{"ann@example.com"}, {"ann@example.com", "bob@example.com"}], ids=["one", "all"])
def test_email_to_someone_unknown_names_whom(certificate: Path, unknown: set[str]) -> None:
    with open_mail_server(certificate, unknown=frozenset(unknown)) as server:
        (problem,) = deliver(settings(server.port, certificate), MESSAGE)
        assert "ann@example.com: 550 no such mailbox" in problem
        assert len(server.received) == 2 - len(unknown)


def test_email_where_nobody_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (problem,) = deliver(settings(port), MESSAGE)
    assert problem.startswith("the notification by email was not sent, tried 3 times in 0 s: ConnectionRefusedError")


def test_email_to_a_host_that_is_no_name_is_told() -> None:
    """The socket raises what is no OSError, and the others are to be told all the same."""
    (problem,) = deliver(settings(25, host="mail..example.com"), MESSAGE)
    assert re.fullmatch(
        r"the notification by email was not sent: Unicode(Encode)?Error", problem or ""
    )  # by Python version


def test_email_to_a_server_that_says_nothing_takes_no_longer_than_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (problem,) = deliver(settings(silent.getsockname()[1], seconds=0.6), MESSAGE)
    assert "was not sent" in problem


def test_email_without_its_password_says_where_it_ought_to_be(
    monkeypatch: pytest.MonkeyPatch, mail: MailServer, certificate: Path
) -> None:
    monkeypatch.delenv("SMTP_PASSWORD")
    (problem,) = deliver(settings(mail.port, certificate, **LOGIN), MESSAGE)
    assert "the variable SMTP_PASSWORD is not set" in problem
