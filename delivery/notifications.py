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
    """Notifies the configured channels of a rollback; failures are printed, not raised.

    Args:
        environment: Whose channels these are.
        store: The model store.
        model: Name of the model.
        left: The version that was rolled back.
        happened: Rest of the subject, after the model's name.
        reasons: Why.
    """
    config = environment.settings.notifications
    if not config.channels or "rollback" not in config.events:
        return
    try:
        details = explain_version(f"{model}/{left}", environment.state.runs, store).text()
    except StoreError as error:
        details = str(error)
    notify(config, Message(frozenset({"rollback"}), f"{model}: {happened}", reasons, details=details))
