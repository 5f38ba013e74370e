"""Brings a target's recurring runs in line with the settings, also while others do the same.

Each pass lists what exists, plans the next steps from that alone, and takes them, until no step is left. So the
next pass repairs what a killed one, or two at once, left behind. If a name has several correct recurring
runs, the oldest is kept, so that concurrent passes agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from delivery.targets.base import Recurring, RemoteSchedule, Schedules
from slipway.errors import TargetError

PASSES = 6


@dataclass(frozen=True)
class Action:
    """One step towards the settings."""

    verb: Literal["create", "replace", "enable", "delete"]
    name: str
    why: str
    carry_out: Callable[[Schedules], None]


def plan(wanted: Iterable[Recurring], found: Iterable[RemoteSchedule]) -> list[Action]:
    """The next steps; none if the target has exactly the wanted recurring runs.

    A recurring run that cannot be changed in place is replaced in two passes: the new one is made first, disabled;
    then the old one is deleted and the new one enabled. So a name never has two active ones, and after a killed
    pass it has one, unless it was killed between these two requests: then the next pass enables it.
    """
    by_name: dict[str, list[RemoteSchedule]] = {}
    for one in sorted(found, key=lambda remote: (remote.created, remote.id)):
        by_name.setdefault(one.name, []).append(one)
    actions: list[Action] = []
    for schedule in wanted:
        actions += _next_steps(schedule, by_name.pop(schedule.name, []))
    unwanted = [one for others in by_name.values() for one in others]
    return actions + [_delete(one, "the settings no longer have it, or disable it") for one in unwanted]


def apply(wanted: list[Recurring], schedules: Schedules, on_action: Callable[[Action], None]) -> None:
    """Repeats passes until nothing is left to do; `on_action` is called before each step.

    Raises:
        TargetError: the target refuses, does not answer, or does not settle because others change it all the time.
    """
    last: TargetError | None = None
    for _ in range(PASSES):
        actions = plan(wanted, schedules.list())
        if not actions:
            return
        for action in actions:
            on_action(action)
            try:
                action.carry_out(schedules)
            except TargetError as error:
                if action.verb != "enable":
                    raise
                last = error  # another apply may have removed it just now: look again
                break
    raise TargetError(
        f"the schedules did not settle in {PASSES} passes; is another `apply` with other settings running?"
        + (f" The last error: {last}" if last else "")
    )


def remove(names: Iterable[str], schedules: Schedules, on_action: Callable[[Action], None]) -> None:
    """Removes all recurring runs of these names that Slipway owns."""
    chosen = set(names)
    for one in schedules.list():
        if one.name in chosen:
            action = _delete(one, "asked for")
            on_action(action)
            action.carry_out(schedules)


def _next_steps(wanted: Recurring, found: list[RemoteSchedule]) -> Iterator[Action]:
    name = wanted.name
    same = [one for one in found if one.digest == wanted.digest]
    right = [one for one in same if not one.stale]
    if not found:
        yield Action("create", name, "it is new", lambda schedules: schedules.create(wanted))
    elif not right:
        why = same[0].stale if same else "the settings, the module or the pipeline changed"
        yield Action("replace", name, why, lambda schedules: schedules.replace(found[0], wanted))
    else:
        for other in found:
            if other is not right[0]:
                why = "it is a duplicate" if other in right else "a newer one replaces it"
                yield _delete(other, why)
        if not right[0].enabled:
            archived = right[0].archived
            why = f"its experiment {archived} is archived" if archived else "it exists, but is paused"
            yield Action("enable", name, why, lambda schedules: schedules.enable(right[0], wanted))


def _delete(one: RemoteSchedule, why: str) -> Action:
    return Action("delete", one.name, why, lambda schedules: schedules.delete(one))
