"""Tells people what became of a run: by e-mail, by a Slack-compatible webhook, or in the log."""

from slipway.notifications.config import Notifications
from slipway.notifications.message import Message, run_message
from slipway.notifications.send import deliver, notify

__all__ = ["Message", "Notifications", "deliver", "notify", "run_message"]
