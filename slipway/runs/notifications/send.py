"""Sends a message through all configured channels in parallel, within one time-out; failures are returned."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable

from slipway.errors import ConfigError, NotificationError
from slipway.remote.retries import retrying, tried
from slipway.runs.notifications.config import Notifications
from slipway.runs.notifications.message import Message
from slipway.runs.notifications.smtp import send_email
from slipway.runs.notifications.webhook import post_webhook

ATTEMPTS = 3
PAUSE_SECONDS = 1.0


def notify(config: Notifications, message: Message) -> list[str]:
    """Sends a message to the configured channels if the settings ask for its events; prints failures."""
    if not message.events & set(config.events):
        return []
    problems = deliver(config, message)
    for problem in problems:
        print(f"warning: {problem}")
    return problems


def deliver(config: Notifications, message: Message) -> list[str]:
    """Sends a message to the configured channels, whatever its events.

    It may arrive twice if a server's answer is lost.

    Returns:
        Failures, one line per channel, without secrets.
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
        "stdout": lambda: print(message.text()),
        "email": lambda: send_email(config.email, message, context, seconds),
        "webhook": lambda: post_webhook(config.webhook, message, context, seconds),
    }
    deadline = time.monotonic() + config.timeout_seconds
    sendings = [_Sending(channel, sends[channel], deadline) for channel in config.channels]
    for sending in sendings:
        sending.start()
    for sending in sendings:
        sending.join(max(0.0, deadline - time.monotonic()))
    return [sending.problem for sending in sendings if sending.problem]


class _Sending(threading.Thread):
    """Sends through one channel. A daemon thread, so that a hanging channel keeps no process alive."""

    def __init__(self, channel: str, send: Callable[[], None], deadline: float) -> None:
        super().__init__(name=f"notify-{channel}", daemon=True)
        self._what = f"the notification by {channel} was not sent"
        self._send = send
        self._deadline = deadline
        self.problem = f"{self._what}: no answer in time"

    def run(self) -> None:
        self.problem = self._attempt()

    def _attempt(self) -> str:
        left = self._deadline - time.monotonic()
        try:
            retrying(OSError, attempts=ATTEMPTS, seconds=left, first_seconds=PAUSE_SECONDS)(self._send)
        except NotificationError as error:
            return f"{self._what}: {error}"
        except OSError as error:
            fix = "; is notifications.ca_file needed?" if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""
            return f"{self._what}{tried(error)}: {type(error).__name__}: {error}{fix}"
        except Exception as error:  # the text may hold a secret: only the type is printed
            return f"{self._what}: {type(error).__name__}"
        return ""
