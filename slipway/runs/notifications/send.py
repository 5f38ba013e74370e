"""Sends a message through all configured channels in parallel, within one time-out; failures are returned."""

import logging
import smtplib
import ssl
import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from slipway.errors import ConfigError, NotificationError
from slipway.pages.printable import printable
from slipway.remote.retries import TRANSIENT_STATUSES, retrying, tried
from slipway.runs.notifications.config import Email, Notifications, Webhook
from slipway.runs.notifications.message import Message
from slipway.runs.notifications.secret import read_secret

ATTEMPTS = 3
PAUSE_SECONDS = 1.0
WEBHOOK_LENGTH = 3_500


def notify(config: Notifications, message: Message) -> list[str]:
    """Sends a message to the configured channels if the settings ask for its events; prints failures."""
    if not message.events & set(config.events):
        return []
    problems = deliver(config, message)
    for problem in problems:
        print(printable(f"warning: {problem}"))
    return problems


def deliver(config: Notifications, message: Message) -> list[str]:
    """Sends a message to the configured channels, whatever its events; it may arrive twice if an answer is lost.

    Returns failures, one line per channel, without secrets.
    """
    try:
        config.require_complete()
        context = ssl.create_default_context(cafile=config.ca_file or None)
    except ConfigError as error:
        return [f"no notification was sent: {error}"]
    except OSError as error:
        return [f"no notification was sent: notifications.ca_file = {config.ca_file!r} cannot be read: {error}"]
    seconds = config.timeout_seconds / ATTEMPTS
    sends: dict[str, Callable[[], None]] = {
        "stdout": lambda: print(printable(message.text())),
        "email": lambda: _send_email(config.email, message, context, seconds),
        "webhook": lambda: _post_webhook(config.webhook, message, context, seconds),
    }
    problems = dict.fromkeys(config.channels, ": no answer in time")
    deadline = time.monotonic() + config.timeout_seconds

    def send(channel: str) -> None:
        problems[channel] = _attempt(sends[channel], config.timeout_seconds)

    # Daemon threads: a channel that hangs keeps no process alive.
    threads = [threading.Thread(target=send, args=(channel,), daemon=True) for channel in config.channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [f"the notification by {channel} was not sent{why}" for channel, why in problems.items() if why]


def _attempt(send: Callable[[], None], seconds: float) -> str:
    """What went wrong, after `the notification was not sent`; empty if it was."""
    try:
        retrying(OSError, attempts=ATTEMPTS, seconds=seconds, first_seconds=PAUSE_SECONDS)(send)
    except NotificationError as error:
        return f": {error}"
    except OSError as error:
        fix = "; is notifications.ca_file needed?" if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""
        return f"{tried(error)}: {type(error).__name__}: {error}{fix}"
    except Exception as error:  # the text may hold a secret: only the type is printed
        return f": {type(error).__name__}"
    return ""


def _post_webhook(webhook: Webhook, message: Message, context: ssl.SSLContext, seconds: float) -> None:
    """Posts a message to Slack or a compatible service, in one attempt; redirects are not followed.

    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

    Raises:
        NotificationError: it is refused permanently; the error does not contain the address.
        OSError: the server does not respond, or refuses temporarily.
    """
    import httpx

    url = read_secret(webhook.url, seconds)
    if not url.startswith(("https://", "http://")):
        raise NotificationError(f"{webhook.url} holds no address of a webhook: it begins with https://")
    # These loggers print the address, which is a secret, and kfp records all log messages of a step.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # https://docs.slack.dev/messaging/formatting-message-text#escaping
    text = message.brief().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")[:WEBHOOK_LENGTH]
    try:
        with httpx.Client(verify=context, timeout=seconds) as client:
            status = client.post(url, json={"text": text}).status_code
    except httpx.InvalidURL:
        raise NotificationError(f"{webhook.url} holds no address of a webhook that can be asked") from None
    except httpx.HTTPError as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from None
    if status in TRANSIENT_STATUSES:
        raise ConnectionError(f"it answers {status}")
    if not 200 <= status < 300:
        raise NotificationError(f"the webhook answers {status}: is {webhook.url} its right address, and is it active?")


def _send_email(email: Email, message: Message, context: ssl.SSLContext, seconds: float) -> None:
    """Sends a message by SMTP, in one attempt.

    Raises:
        NotificationError: it is refused permanently.
        OSError: the server does not respond, or refuses temporarily; smtplib's errors are OSErrors.
    """
    where = f"{email.host}:{email.port}"
    password = read_secret(email.password, seconds) if email.password else ""
    try:
        with _connect(email, context, seconds) as server:
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
            why = _words(error.smtp_code, error.smtp_error)
            raise NotificationError(f"{where} refuses the message: {why}") from None
        raise
    if refused:
        told = "; ".join(f"{whom}: {_words(*why)}" for whom, why in refused.items())
        raise NotificationError(f"{where} does not deliver to {told}")


def _connect(email: Email, context: ssl.SSLContext, seconds: float) -> smtplib.SMTP:
    if email.security == "tls":
        return smtplib.SMTP_SSL(email.host, email.port, timeout=seconds, context=context)
    server = smtplib.SMTP(email.host, email.port, timeout=seconds)
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
