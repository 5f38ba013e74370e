"""Notifications of rollbacks from the command line; a run's own end is notified by its last step."""

from __future__ import annotations

from delivery.environment import Environment
from slipway.errors import StoreError
from slipway.runs.explain import explain_version
from slipway.runs.notifications.message import Message
from slipway.runs.notifications.send import notify
from slipway.stores.model_store import ModelStore


def notify_of_rollback(
    environment: Environment, store: ModelStore, model: str, left: int, happened: str, reasons: list[str]
) -> None:
    """Notifies the environment's channels that version `left` was rolled back; failures are printed, not raised."""
    config = environment.settings.notifications
    if not config.channels or "rollback" not in config.events:
        return
    try:
        details = explain_version(f"{model}/{left}", environment.state.runs, store).text()
    except StoreError as error:
        details = str(error)
    notify(config, Message(frozenset({"rollback"}), f"{model}: {happened}", reasons, details=details))
