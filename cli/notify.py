"""`slipway notify`: whom a run's end is told, and whether that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cli.targets import EnvOption

if TYPE_CHECKING:
    from settings.schema import Settings
    from slipway.stores.model_store import ModelStore

app = typer.Typer(help="Try the channels over which people are told of runs and rollbacks.", no_args_is_help=True)


@app.callback()
def notify() -> None:
    """Try the channels over which people are told of runs and rollbacks."""


@app.command()
def test(env: EnvOption = None) -> None:  # noqa: PT028 - a command
    """Send a test message through every channel of the settings, from here; 1 if one does not work."""
    from settings.load import load_settings
    from slipway.errors import ConfigError
    from slipway.runs.notifications.message import Message
    from slipway.runs.notifications.send import deliver

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


def tell_of_rollback(
    settings: Settings, store: ModelStore, model: str, left: int, happened: str, reasons: list[str]
) -> None:
    """Tells whom the settings name that a version was taken back; what goes wrong is printed.

    Args:
        settings: Of the environment.
        store: The model store.
        model: Name of the model.
        left: The version that was taken back.
        happened: Completes a sentence that begins with the model.
        reasons: Why.
    """
    from slipway.errors import StoreError
    from slipway.runs.explain import find
    from slipway.runs.notifications.message import Message
    from slipway.runs.notifications.send import notify

    config = settings.notifications
    if not config.channels or "rollback" not in config.events:
        return
    try:
        details = find(f"{model}/{left}", settings.home / "runs", store).text()
    except StoreError as error:
        details = str(error)
    notify(config, Message(frozenset({"rollback"}), f"{model}: {happened}", reasons, details=details))
