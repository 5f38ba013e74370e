"""A POST to Slack or a compatible service."""

from __future__ import annotations

import logging
import ssl

from slipway.errors import NotificationError
from slipway.remote.retries import TRANSIENT_STATUSES
from slipway.runs.notifications.config import Webhook
from slipway.runs.notifications.message import Message
from slipway.runs.notifications.secret import read_secret

LENGTH = 3_500


def post_webhook(webhook: Webhook, message: Message, context: ssl.SSLContext, timeout_seconds: float) -> None:
    """Posts one message, in one attempt; redirects are not followed.

    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

    Args:
        webhook: The settings.
        message: The message.
        context: Certificates to trust.
        timeout_seconds: For connecting, writing and waiting for the response, each.

    Raises:
        NotificationError: it is refused permanently; the error does not contain the address.
        OSError: the server does not respond, or refuses temporarily.
    """
    import httpx

    url = read_secret(webhook.url, timeout_seconds)
    if not url.startswith(("https://", "http://")):
        raise NotificationError(f"{webhook.url} holds no address of a webhook: it begins with https://")
    # These loggers print the address, which is a secret, and kfp records all log messages of a step.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with httpx.Client(verify=context, timeout=timeout_seconds) as client:
            status = client.post(url, json={"text": escape(message.brief())[:LENGTH]}).status_code
    except httpx.InvalidURL:
        raise NotificationError(f"{webhook.url} holds no address of a webhook that can be asked") from None
    except httpx.HTTPError as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from None
    if status in TRANSIENT_STATUSES:
        raise ConnectionError(f"it answers {status}")
    if not 200 <= status < 300:
        raise NotificationError(f"the webhook answers {status}: is {webhook.url} its right address, and is it active?")


def escape(text: str) -> str:
    """Escapes the three characters that Slack reserves: https://docs.slack.dev/messaging/formatting-message-text#escaping."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
