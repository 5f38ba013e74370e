"""Stages of a model's versions, the pin and the history: pure functions from one state to the next.

A version is pushed as a candidate. The pin names the one stable version; a version that loses the pin is retired
(another was promoted) or quarantined (it was rolled back). Bytes that were quarantined are never promoted or pushed
again, until somebody releases them. A rollback only goes back to a version that was promoted before, and only from the
version that was stable when it was requested.
"""

import math
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from slipway.errors import ChangedMeanwhileError, ModelQuarantinedError, StoreError
from slipway.lineage import describe_actor

Stage = Literal["candidate", "canary", "stable", "retired", "quarantined"]
Action = Literal["push", "canary", "promote", "rollback", "quarantine", "release", "retire", "delete"]

# An action's name in messages, the stage that it leads to, and stages that it may start from; all else is refused.
_RULES: dict[Action, tuple[str, Stage | None, frozenset[Stage]]] = {
    "canary": ("made the canary", "canary", frozenset({"candidate", "retired"})),
    "promote": ("promoted", "stable", frozenset({"candidate", "canary", "retired"})),
    "rollback": ("gone back to", "stable", frozenset({"candidate", "canary", "retired"})),
    "quarantine": ("quarantined", "quarantined", frozenset({"candidate", "canary", "retired"})),
    "release": ("released", "retired", frozenset({"quarantined"})),
    "retire": ("retired", "retired", frozenset({"candidate", "canary"})),
    "delete": ("deleted", None, frozenset({"candidate", "retired", "quarantined"})),
}


class Event(BaseModel):
    """One line of a model's history."""

    model_config = ConfigDict(frozen=True)

    when: float = Field(description="seconds since 1970, UTC")
    action: Action
    version: int
    previous: int | None = Field(None, description="promote: the pin before; rollback: the version that it left")
    who: str = Field(description="the account, as the store or the cluster knows it")
    says: str = Field("", description="the name that it gave itself")
    why: str
    run: str = Field("", description="that trained the version")
    model_digest: str = Field("", description="of the version")

    @property
    def actor(self) -> str:
        """Who did it, in words."""
        return describe_actor(self.who, self.says)


class State(BaseModel):
    """Stages, pin and history of a model; deleted versions keep their last stage."""

    model_config = ConfigDict(frozen=True)

    model: str
    pin: int | None = Field(None, description="the stable version")
    stages: dict[int, Stage] = {}
    history: tuple[Event, ...] = Field((), description="oldest first; it only grows")

    @property
    def deleted(self) -> frozenset[int]:
        """Versions whose files were deleted."""
        return frozenset(event.version for event in self.history if event.action == "delete")


class Seen(NamedTuple):
    """What a person saw of a model when he decided: the pin, and the stage of the version that he chose."""

    pin: int | None
    stage: Stage | None


def adopt(state: State, pushes: Iterable[Event]) -> State:
    """Adds pushed versions as candidates; known ones change nothing."""
    new = [event for event in pushes if event.version not in state.stages]
    stages = {**state.stages, **{event.version: "candidate" for event in new}}
    return state.model_copy(update={"stages": stages, "history": (*state.history, *new)}) if new else state


def apply(state: State, event: Event) -> State:
    """The state after an event; the same state if the version is already in the stage that the event leads to.

    Raises:
        ModelQuarantinedError: the version is quarantined and the event would serve it.
        StoreError: the rules forbid the event.
    """
    number = event.version
    verb, target, allowed = _RULES[event.action]
    if event.action == "rollback":
        check_left(state, event.previous, last_move(state.history))
        if number == event.previous:
            raise StoreError(f"{state.model} was not rolled back: version {number} is in production already")
    elif target is not None and state.stages.get(number) == target and event.action != "release":
        return state
    _check_stage(state, number, verb, allowed)
    if event.action == "rollback" and number not in _promoted(state):
        raise StoreError(
            f"{state.model} was not rolled back: version {number} was never promoted. To try it: "
            f"`slipway models promote {state.model}/{number}`, or, by way of a canary, "
            f"`slipway rollout start {state.model}/{number}`"
        )
    if target in ("canary", "stable"):
        check_digest(state, event.model_digest)
    stages = {**state.stages}
    if event.action == "canary":
        # There is one canary at a time: the previous one becomes a candidate again.
        stages |= {version: "candidate" for version, stage in stages.items() if stage == "canary"}
    if event.action == "promote":
        event = event.model_copy(update={"previous": state.pin})
        stages |= {state.pin: "retired"} if state.pin else {}
    if event.action == "release":
        same = {one.version for one in state.history if one.model_digest == event.model_digest}
        stages |= {version: "retired" for version in same if stages[version] == "quarantined"}
    if event.action == "rollback" and event.previous:
        stages[event.previous] = "quarantined"
    if target is not None:
        stages[number] = target
    pin = number if target == "stable" else state.pin
    return state.model_copy(update={"pin": pin, "stages": stages, "history": (*state.history, event)})


def delete(state: State, events: Iterable[Event]) -> State:
    """The state after versions of `prunable` were deleted; `apply` takes time that grows with the history for each."""
    return state.model_copy(update={"history": (*state.history, *events)})


def production(state: State, versions: Iterable[int]) -> int | None:
    """The pin; without one, the newest version that may serve."""
    return max(servable(state).intersection(versions), default=None) if state.pin is None else state.pin


def servable(state: State) -> set[int]:
    """Versions whose bytes were never quarantined under any number."""
    barred = {event.model_digest for event in state.history if state.stages[event.version] == "quarantined"}
    return {event.version for event in state.history if event.model_digest not in barred}


def last_move(history: Sequence[Event], until: float = math.inf) -> Event | None:
    """The last promotion or rollback until a time in seconds since 1970, which set the pin; None without one."""
    moves = (event for event in reversed(history) if event.action in ("promote", "rollback"))
    return next((event for event in moves if event.when <= until), None)


def served_last(history: Sequence[Event], without: str, count: int) -> list[int]:
    """The last versions that served, newest first: promoted, gone back to or, before the first pin, pushed.

    Bytes that were quarantined are left out, and so are those with the digest `without`.
    """
    digests: dict[int | None, str] = {event.version: event.model_digest for event in history}
    barred = {without}
    for event in history:
        if event.action == "release":
            barred.discard(event.model_digest)
        elif event.action in ("quarantine", "rollback"):
            barred.add(digests.get(event.version if event.action == "quarantine" else event.previous, without))
    barred.add(without)
    served: dict[str, int] = {}
    pinned = False
    for event in history:
        moved = event.action in ("promote", "rollback")
        pinned = pinned or moved
        if (moved or (event.action == "push" and not pinned)) and event.model_digest not in barred:
            served.pop(event.model_digest, None)
            served[event.model_digest] = event.version
    return list(served.values())[: -count - 1 : -1]


def serving(state: State, versions: Iterable[int]) -> str:
    """The version in production and who put it there, as a sentence for messages."""
    move = last_move(state.history)
    if move is None:
        newest = production(state, versions)
        return f"Version {newest}, the newest, is in production" if newest else "No version may serve"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(move.when))
    return f"Version {move.version} is stable since {since}: {move.action} by {move.actor}, {move.why}"


def rollback_target(state: State, versions: Collection[int]) -> int | None:
    """The version that was stable before the current one and can still be served; None without one."""
    past: list[int] = []
    for event in state.history:
        if event.action == "rollback" and event.version in past:
            while past[-1] != event.version:  # versions that a rollback skipped are no targets any more
                past.pop()
        elif event.action in ("promote", "rollback"):
            past.append(event.version)
    fit = _returnable(state, versions)
    return next((number for number in reversed(past) if number in fit), None)


def nothing_before(state: State, versions: Collection[int]) -> str:
    """Message for a rollback without a target: no version was stable before."""
    others = sorted(_returnable(state, versions))
    told = f"{state.model} has nothing to roll back to: no version was stable before {state.pin}"
    first = f"`slipway models rollback {state.model} --to {others[-1]}`" if others else ""
    return f"{told}. Name one of {', '.join(map(str, others))}, as in {first}" if others else told


def prunable(state: State, versions: Collection[int], keep: int) -> list[int]:
    """Versions that may be deleted, oldest first: not production, not its successor after a rollback, no canary.

    Besides these, the newest `keep` stay. `versions` are those that can be served.
    """
    now = production(state, versions)
    # Without a pin, quarantining the newest version puts the previous one into production.
    after = rollback_target(state, versions) if state.pin else production(state, set(versions) - {now})
    others = [number for number in sorted(versions) if number not in (now, after) and state.stages[number] != "canary"]
    return others[: max(len(others) - keep, 0)]


def check_left(state: State, leave: int | None, move: Event | None) -> None:
    """Refuses a rollback if no version is stable, or the pin was moved after it was requested, with a StoreError.

    Args:
        state: The state that it would change.
        leave: The version that must be stable; that of `move` without it.
        move: The last promotion or rollback when it was requested.
    """
    if state.pin is None:
        raise StoreError(
            f"{state.model} has nothing to roll back to: no version was ever promoted. "
            f"`slipway models list {state.model}` has the candidates; `promote` chooses one, `quarantine` takes one out"
        )
    left = move and move.version if leave is None else leave
    if state.pin != left or last_move(state.history) != move:
        before = "and was another one meanwhile" if state.pin == left else f"not {left or 'any'}"
        raise StoreError(
            f"{state.model} was not rolled back: its stable version is {state.pin} now, {before}; another process "
            f"changed it. To roll {state.pin} back as well, name it: --from {state.pin}"
        )


def check_seen(state: State, number: int, seen: Seen) -> None:
    """Refuses a change of a version, with a ChangedMeanwhileError, if pin or stage are not as they were seen."""
    if state.pin != seen.pin:
        was = f"it was {seen.pin}" if seen.pin else "none was"
        raise ChangedMeanwhileError(
            f"{state.model} was changed meanwhile, and nothing was done: {was} when this was decided. "
            f"{serving(state, ())}. Look at it again"
        )
    now = state.stages.get(number)
    if now != seen.stage:
        by = _quarantined(state, number) if now == "quarantined" else now or "unknown"
        raise ChangedMeanwhileError(
            f"version {number} of {state.model} was changed meanwhile, and nothing was done: it was {seen.stage} when "
            f"this was decided, and is {by} now. Look at it again"
        )


def check_digest(state: State, model_digest: str) -> None:
    """Refuses bytes that were quarantined under any number, with a ModelQuarantinedError."""
    for event in state.history:
        if event.model_digest == model_digest and state.stages[event.version] == "quarantined":
            raise ModelQuarantinedError(
                f"the same bytes are version {event.version} of {state.model}, {_quarantined(state, event.version)}. "
                "Train a model that differs: other data, another module or another seed; or lift the quarantine: "
                f"`slipway models release {state.model}/{event.version}`"
            )


def _check_stage(state: State, number: int, verb: str, allowed: frozenset[Stage]) -> None:
    refused = f"version {number} of {state.model} cannot be {verb}"
    if number not in state.stages:
        raise StoreError(f"{refused}: there is no such version")
    if number in state.deleted and verb != "released":  # its bytes may be pushed again
        raise StoreError(f"{refused}: its files were deleted; see `slipway models history {state.model}`")
    stage = state.stages[number]
    if stage in allowed:
        return
    if stage == "quarantined":
        raise ModelQuarantinedError(
            f"{refused}: it was {_quarantined(state, number)}. Push another version, or "
            f"lift that: `slipway models release {state.model}/{number}`"
        )
    if stage == "stable":
        raise StoreError(f"{refused}: it is the stable version. Promote another one or roll back first")
    raise StoreError(f"{refused}: it is {stage}, and must be {' or '.join(sorted(allowed))}")


def _returnable(state: State, versions: Collection[int]) -> set[int]:
    return servable(state).intersection(versions, _promoted(state)) - {state.pin}


def _promoted(state: State) -> set[int]:
    return {event.version for event in state.history if event.action == "promote"}


def _quarantined(state: State, number: int) -> str:
    """`quarantined by ci: p99 doubled`."""
    for event in reversed(state.history):
        if {"quarantine": event.version, "rollback": event.previous}.get(event.action) == number:
            return f"quarantined by {event.actor}: {event.why}"
    return "quarantined"
