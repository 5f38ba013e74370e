"""A real SMTP server on loopback, with STARTTLS or TLS by a certificate of its own, and a login."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

PASSWORD = "correct horse & battery"


@dataclass
class MailServer:
    """What came in; `answers` are given instead of taking a message, each once."""

    port: int = 0
    received: list[EmailMessage] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    unknown: frozenset[str] = frozenset()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.unknown:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.received.append(message)
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 OK"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        if (data.login, data.password) == (b"slipway", PASSWORD.encode()):
            return AuthResult(success=True)
        # Some servers repeat what they were told.
        told = f"535 5.7.8 {data.login.decode()} with {data.password.decode()} is wrong"
        return AuthResult(success=False, handled=False, message=told)


@contextmanager
def open_mail_server(
    certificate: Path | None, *, login: bool = False, tls_only: bool = False, **behaviour: Any
) -> Iterator[MailServer]:
    """Serves on a free port for as long as the block lasts; with a certificate, by STARTTLS or `tls_only`."""
    mail = MailServer(**behaviour)
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    options: dict[str, Any] = {"hostname": "localhost", "loop": (loop := asyncio.new_event_loop())}
    if context and not tls_only:
        options |= {"tls_context": context, "require_starttls": True}
    if login:
        # aiosmtpd does not see that a connection was TLS from its start.
        options |= {"authenticator": mail.authenticate, "auth_required": not tls_only, "auth_require_tls": not tls_only}
    direct = context if tls_only else None
    connections: list[SMTP] = []

    def connect() -> SMTP:
        connections.append(SMTP(mail, **options))
        return connections[-1]

    server = loop.run_until_complete(loop.create_server(connect, "127.0.0.1", 0, ssl=direct))
    mail.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield mail
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for transport in (connection.transport for connection in connections):
            if isinstance(transport, asyncio.WriteTransport):
                with suppress(AttributeError):  # of a TLS transport that has ended already (asyncio/sslproto.py)
                    transport.abort()
        while tasks := asyncio.all_tasks(loop):
            loop.run_until_complete(asyncio.wait(tasks, timeout=1))
        loop.run_until_complete(asyncio.sleep(0.01))  # sockets are closed a turn later
        loop.close()


def make_certificate(folder: Path, name: str = "localhost") -> Path:
    """A self-signed certificate for a name, with its key in the same file."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / f"{name}.pem"
    both.write_text(key.read_text() + certificate.read_text())
    return both
