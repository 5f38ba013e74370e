"""`slipway notify`: whom a run's end is told, and whether that works."""

from __future__ import annotations

import typer

from cli.targets import EnvOption

app = typer.Typer(help="Try the channels over which people are told of runs and rollbacks.", no_args_is_help=True)


@app.callback()
def notify() -> None:
    """Try the channels over which people are told of runs and rollbacks."""


@app.command()
def test(env: EnvOption = None) -> None:  # noqa: PT028 - a command
    """Send a test message through every channel of the settings, from here; 1 if one does not work."""
    from settings.load import load_settings
    from slipway.errors import ConfigError
    from slipway.notifications import Message, deliver

    config = load_settings(env).notifications
    if not config.channels:
        raise ConfigError(
            "these settings notify nobody: set notifications.email.host, notifications.webhook.url or "
            "notifications.stdout in settings/<environment>.yaml"
        )
    reasons = ["`slipway notify test` works", f"messages are sent on {', '.join(config.events) or 'nothing'}"]
    problems = deliver(config, Message(frozenset(), "this is a test", reasons))
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"sent by {', '.join(config.channels)}")
