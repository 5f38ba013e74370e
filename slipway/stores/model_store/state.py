"""Stages of a model's versions, the pin and the history: pure functions from one state to the next.

A version is pushed as a candidate. The pin names the one stable version; whatever leaves the pin is retired (another
was promoted) or quarantined (it was rolled back). Quarantine is for good: the same bytes are never promoted or pushed
again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from slipway.errors import ModelQuarantinedError, StoreError

Stage = Literal["candidate", "canary", "stable", "retired", "quarantined"]
Action = Literal["push", "canary", "promote", "rollback", "quarantine", "retire", "delete"]

# What an action makes of its version, and of which stages: whatever is missing here is refused.
_RULES: dict[Action, tuple[Stage | None, frozenset[Stage]]] = {
    "canary": ("canary", frozenset({"candidate", "retired"})),
    "promote": ("stable", frozenset({"candidate", "canary", "retired"})),
    "rollback": ("stable", frozenset({"candidate", "canary", "retired"})),
    "quarantine": ("quarantined", frozenset({"candidate", "canary", "retired"})),
    "retire": ("retired", frozenset({"candidate", "canary"})),
    "delete": (None, frozenset({"candidate", "retired", "quarantined"})),
}
_VERBS: dict[Action, str] = {
    "canary": "made the canary",
    "promote": "promoted",
    "rollback": "gone back to",
    "quarantine": "quarantined",
    "retire": "retired",
    "delete": "deleted",
}


class Event(BaseModel):
    """One line of a model's history."""

    model_config = ConfigDict(frozen=True)

    when: float = Field(description="seconds since 1970, UTC")
    action: Action
    version: int
    previous: int | None = Field(None, description="promote: the pin before; rollback: the version that it left")
    who: str
    why: str
    run: str = Field("", description="that trained the version")
    model_digest: str = Field("", description="of the version")


class State(BaseModel):
    """What a store knows of a model beyond its versions' bytes; deleted versions keep their last stage."""

    model_config = ConfigDict(frozen=True)

    model: str
    pin: int | None = Field(None, description="the stable version")
    stages: dict[int, Stage] = {}
    history: tuple[Event, ...] = Field((), description="oldest first; it only grows")

    @property
    def deleted(self) -> frozenset[int]:
        """Versions whose files were deleted."""
        return frozenset(event.version for event in self.history if event.action == "delete")


def adopt(state: State, pushes: Iterable[Event]) -> State:
    """Takes pushed versions in as candidates; those that are known already change nothing."""
    new = [event for event in pushes if event.version not in state.stages]
    stages = {**state.stages, **{event.version: "candidate" for event in new}}
    return state.model_copy(update={"stages": stages, "history": (*state.history, *new)}) if new else state


def apply(state: State, event: Event) -> State:
    """The state after an event; the same state where the version is already what the event would make of it.

    Raises:
        ModelQuarantinedError: the version is quarantined and the event would serve it.
        StoreError: the rules forbid the event.
    """
    number = event.version
    target, allowed = _RULES[event.action]
    if event.action == "rollback":
        _check_rollback(state, event)
    elif target is not None and state.stages.get(number) == target:
        return state
    _check(state, event, allowed)
    if target in ("canary", "stable"):
        check_digest(state, event.model_digest)
    stages = {**state.stages}
    if event.action == "canary":
        # One canary at a time: the one before goes back to the candidates, unjudged.
        stages |= {version: "candidate" for version, stage in stages.items() if stage == "canary"}
    if event.action == "promote":
        event = event.model_copy(update={"previous": state.pin})
        stages |= {state.pin: "retired"} if state.pin else {}
    if event.action == "rollback" and event.previous:
        stages[event.previous] = "quarantined"
    if target is not None:
        stages[number] = target
    pin = number if target == "stable" else state.pin
    return state.model_copy(update={"pin": pin, "stages": stages, "history": (*state.history, event)})


def production(state: State, versions: Iterable[int]) -> int | None:
    """The pin; in a model that nobody promoted, the newest version that may serve."""
    return max(servable(state).intersection(versions), default=None) if state.pin is None else state.pin


def servable(state: State) -> set[int]:
    """Versions whose bytes were never quarantined, under whichever number."""
    barred = {event.model_digest for event in state.history if state.stages[event.version] == "quarantined"}
    return {event.version for event in state.history if event.model_digest not in barred}


def rollback_target(state: State, versions: Collection[int]) -> int | None:
    """The version that counted as production before the one that does now, and can be served still."""
    now = production(state, versions)
    pins = [event.version for event in state.history if event.action in ("promote", "rollback")]
    past = pins if state.pin is not None else sorted(versions)
    fit = servable(state).intersection(versions) - {now}
    return next((number for number in reversed(past) if number in fit), None)


def prunable(state: State, versions: Collection[int], keep: int) -> list[int]:
    """Versions that nothing needs, oldest first: not production, not its rollback target, no canary, not the newest.

    Args:
        state: The model's state.
        versions: Those that can be served.
        keep: How many to keep beyond the ones that are needed.
    """
    needed = {production(state, versions), rollback_target(state, versions)}
    others = [number for number in sorted(versions) if number not in needed and state.stages[number] != "canary"]
    return others[: max(len(others) - keep, 0)]


def check_digest(state: State, model_digest: str) -> None:
    """Refuses bytes that were quarantined, under whichever number.

    Raises:
        ModelQuarantinedError: they were.
    """
    for event in state.history:
        if event.model_digest == model_digest and state.stages[event.version] == "quarantined":
            raise ModelQuarantinedError(
                f"the same bytes are version {event.version} of {state.model}, {_quarantined(state, event.version)}. "
                "Train a model that differs: other data, another module or another seed"
            )


def _check(state: State, event: Event, allowed: frozenset[Stage]) -> None:
    number, refused = event.version, f"version {event.version} of {state.model} cannot be {_VERBS[event.action]}"
    if number not in state.stages:
        raise StoreError(f"{refused}: there is no such version")
    if number in state.deleted:
        raise StoreError(f"{refused}: its files were deleted; see `slipway models history {state.model}`")
    stage = state.stages[number]
    if stage in allowed:
        return
    if stage == "quarantined":
        raise ModelQuarantinedError(f"{refused}: it was {_quarantined(state, number)}. Push another version")
    if stage == "stable":
        raise StoreError(f"{refused}: it is the stable version. Promote another one or roll back first")
    raise StoreError(f"{refused}: it is {stage}, and must be {' or '.join(sorted(allowed))}")


def _check_rollback(state: State, event: Event) -> None:
    if state.pin not in (None, event.previous):
        raise StoreError(
            f"{state.model} was not rolled back: its stable version is {state.pin} by now, not {event.previous}; "
            f"somebody else changed it. Look at `slipway models history {state.model}` and decide again"
        )
    if event.version == event.previous:
        raise StoreError(f"{state.model} was not rolled back: version {event.version} is in production already")


def _quarantined(state: State, number: int) -> str:
    """`quarantined by ci: p99 doubled`."""
    for event in reversed(state.history):
        if (event.action == "quarantine" and event.version == number) or (
            event.action == "rollback" and event.previous == number
        ):
            return f"quarantined by {event.who}: {event.why}"
    return "quarantined"
