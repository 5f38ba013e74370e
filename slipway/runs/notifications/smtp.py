"""E-mail by SMTP."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from slipway.errors import NotificationError
from slipway.runs.notifications.config import Email
from slipway.runs.notifications.message import Message
from slipway.runs.notifications.secret import read_secret


def send_email(email: Email, message: Message, context: ssl.SSLContext, timeout_seconds: float) -> None:
    """Sends one message, in one attempt.

    Args:
        email: The settings, which `Notifications.require_complete` found complete.
        message: The message.
        context: Certificates to trust.
        timeout_seconds: For each response of the server.

    Raises:
        NotificationError: it is refused permanently.
        OSError: the server does not respond, or refuses temporarily; smtplib's errors are OSErrors.
    """
    where = f"{email.host}:{email.port}"
    password = read_secret(email.password, timeout_seconds) if email.password else ""
    try:
        with _connect(email, context, timeout_seconds) as server:
            if password:
                server.login(email.username, password)
            refused = server.send_message(_compose(email, message))
    except smtplib.SMTPAuthenticationError as error:
        # The response may repeat the password, so it is left out.
        raise NotificationError(
            f"{where} refuses the login of {email.username} ({error.smtp_code}): is {email.password} its password?"
        ) from None
    except smtplib.SMTPNotSupportedError as error:
        raise NotificationError(f"{where}: {error} Set notifications.email.security to what it offers") from None
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except smtplib.SMTPResponseException as error:
        if error.smtp_code >= 500:
            raise NotificationError(
                f"{where} refuses the message: {_words(error.smtp_code, error.smtp_error)}"
            ) from None
        raise
    if refused:
        told = "; ".join(f"{whom}: {_words(*why)}" for whom, why in refused.items())
        raise NotificationError(f"{where} does not deliver to {told}")


def _connect(email: Email, context: ssl.SSLContext, timeout_seconds: float) -> smtplib.SMTP:
    if email.security == "tls":
        return smtplib.SMTP_SSL(email.host, email.port, timeout=timeout_seconds, context=context)
    server = smtplib.SMTP(email.host, email.port, timeout=timeout_seconds)
    if email.security == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _compose(email: Email, message: Message) -> EmailMessage:
    composed = EmailMessage()
    composed["Subject"] = message.header
    composed["From"] = email.sender
    composed["To"] = ", ".join(email.recipients)
    composed["Date"] = formatdate(localtime=False)
    composed["Message-ID"] = make_msgid(domain=email.sender.rpartition("@")[2].rstrip("> "))
    composed["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
    composed.set_content(message.text())
    composed.add_alternative(message.html(), subtype="html")
    return composed


def _words(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())[:200]}"
