"""Changes of a model's versions in the store: tracked, and notified where that is a rollback."""

from __future__ import annotations

import math
from dataclasses import dataclass

from delivery.environment import Environment
from delivery.notifications import notify_of_rollback
from delivery.tracking import mirror_versions
from slipway.stores.model_store import Action, Event, ModelStore, Seen

CHANGES: frozenset[Action] = frozenset({"promote", "rollback", "quarantine", "release"})


@dataclass(frozen=True)
class VersionChange:
    """A change of one model in one store; its methods raise what those of `ModelStore` raise.

    Attributes:
        environment: Whose tracker and channels are told.
        store: Its store, or another one.
        model: Name of the model.
        why: The reason, for the history.
        says: The name that whoever does it gives himself.
        seen: What he saw of model and version; the change is refused if that is not so any more.
        notifies: Whether a rollback is notified.
    """

    environment: Environment
    store: ModelStore
    model: str
    why: str = ""
    says: str = ""
    seen: Seen | None = None
    notifies: bool = True

    def promote(self, number: int) -> Event:
        """Makes a version stable after its files are verified; the previous one is retired."""
        return self._tracked(self.store.promote(self.model, number, why=self.why, says=self.says, seen=self.seen))

    def roll_back(self, to: int | None, *, leave: int | None = None, asked: float = math.inf) -> Event:
        """Goes back to a version that was promoted before, and quarantines the stable one."""
        event = self.store.rollback(
            self.model, to, leave=leave, asked=asked, why=self.why, says=self.says, seen=self.seen
        )
        self._tracked(event)
        if self.notifies:
            assert event.previous is not None
            happened = f"back at version {event.version}, from version {event.previous}"
            reasons = [f"{event.actor}: {event.why}"]
            notify_of_rollback(self.environment, self.store, self.model, event.previous, happened, reasons)
        return event

    def quarantine(self, number: int) -> Event:
        """Withdraws a version until it is released."""
        return self._tracked(self.store.quarantine(self.model, number, why=self.why, says=self.says, seen=self.seen))

    def release(self, number: int) -> Event:
        """Lifts the quarantine of a version, and of the same bytes."""
        return self._tracked(self.store.release(self.model, number, why=self.why, says=self.says, seen=self.seen))

    def _tracked(self, event: Event) -> Event:
        mirror_versions(self.environment, self.store, self.model)
        return event


def describe_change(event: Event, model: str) -> str:
    """What one of `CHANGES` did, in words."""
    if event.action == "promote":
        before = f"; version {event.previous} is retired" if event.previous else ""
        return f"Version {event.version} of {model} is stable{before}."
    if event.action == "rollback":
        return (
            f"{model} is back at version {event.version}. Version {event.previous} is quarantined: "
            "neither it nor the same bytes will be promoted again."
        )
    done = {"quarantine": "quarantined", "release": "released"}[event.action]
    return f"Version {event.version} of {model} is {done} by {event.actor}: {event.why}."


def still_served(store: ModelStore, model: str, number: int) -> bool:
    """Whether a cluster may serve a version that was taken out of the store alone."""
    acted = {one.action for one in store.history(model) if one.version == number}
    return bool(acted & {"canary", "promote", "rollback"})
