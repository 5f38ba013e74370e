"""`slipway notify`: tests of the notification channels."""

from __future__ import annotations

import typer

from cli import options
from cli.output import echo
from delivery.environment import open_environment
from slipway.errors import ConfigError
from slipway.runs.notifications.message import Message
from slipway.runs.notifications.send import deliver

app = typer.Typer(no_args_is_help=True)


@app.command()
def test(env: options.Env = None) -> None:  # noqa: PT028 - a command
    """Send a test message through every channel of the settings; 1 if one does not work."""
    config = open_environment(env).settings.notifications
    if not config.channels:
        raise ConfigError(
            "no notification channel is configured: set notifications.email.host, notifications.webhook.url or "
            "notifications.stdout in settings/<environment>.yaml"
        )
    reasons = ["`slipway notify test` works", f"messages are sent on {', '.join(config.events) or 'nothing'}"]
    problems = deliver(config, Message(frozenset(), "this is a test", reasons))
    for problem in problems:
        echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    echo(f"sent by {', '.join(config.channels)}")
