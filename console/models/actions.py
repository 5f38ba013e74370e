"""What a person may do with a model or a version: when it is possible, what it changes, the command that does the same.

What is decided in the store is done at once; what takes minutes is a job (`jobs.py`).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from console.models.catalog import Model
from delivery.environment import Environment
from delivery.versions import VersionChange
from slipway.lineage import user_at_host
from slipway.stores.model_store import Event, Seen, Stage
from slipway.stores.model_store.state import production
from slipway.targets import RemoteTarget

Kind = Literal["promote", "rollout", "rollback", "quarantine", "release", "retrain", "decide", "abort"]

OF_VERSION: tuple[Kind, ...] = ("promote", "rollout", "quarantine", "release")
OF_MODEL: tuple[Kind, ...] = ("rollback", "retrain", "decide", "abort")
TITLES: dict[Kind, str] = {
    "promote": "Promote", "rollout": "Roll out", "rollback": "Roll back", "quarantine": "Quarantine",
    "release": "Release", "retrain": "Train again", "decide": "Promote the canary", "abort": "Remove the canary",
}  # fmt: skip
_STARTS: dict[Kind, frozenset[Stage]] = {
    "promote": frozenset({"candidate", "canary", "retired"}),
    "rollout": frozenset({"candidate", "canary", "retired"}),
    "quarantine": frozenset({"candidate", "canary", "retired"}),
    "release": frozenset({"quarantined"}),
}


@dataclass(frozen=True)
class Plan:
    """One action on a model as it is now.

    Attributes:
        kind: The action.
        model: Its name.
        number: The version: the one that is acted on, or to which a rollback goes.
        title: What is done, in a few words.
        changes: What changes: its name, what it is, what it will be.
        told: What else is to be known.
        seen: What must still be so when it is done.
        is_long: Whether it takes minutes.
    """

    kind: Kind
    model: str
    number: int | None
    title: str
    changes: tuple[tuple[str, str, str], ...]
    told: str
    seen: Seen
    is_long: bool


def offered(model: Model, number: int | None, *, has_cluster: bool) -> list[Kind]:
    """What may be done with a version, or with the model itself without one."""
    if number is None:
        if has_cluster and model.canary:  # a rollback waits until its rollout is decided
            kinds: list[Kind] = ["decide", "abort"]
        else:
            kinds = ["rollback"] if model.rollback_target else []
        return [*kinds, "retrain"] if model.versions else kinds
    known = [kind for kind in OF_VERSION if model.stage(number) in _STARTS[kind]]
    return [kind for kind in known if kind != ("promote" if has_cluster else "rollout")]


def plan(kind: Kind, model: Model, number: int | None, *, has_cluster: bool) -> Plan | None:
    """The action, with what it changes; None if it is not possible now."""
    if kind not in offered(model, number, has_cluster=has_cluster):
        return None
    pin, name = model.state.pin, model.name
    now = f"version {pin}" if pin else _newest(model)
    target = model.rollback_target.number if kind == "rollback" and model.rollback_target else number
    if kind in ("decide", "abort") and model.canary:
        target = model.canary.number
    stage = model.stage(target) if target else None
    changes: list[tuple[str, str, str]] = []
    told = ""
    if kind in ("promote", "rollout", "decide", "rollback"):
        changes.append(("in production", now, f"version {target}"))
    if kind in ("promote", "rollout", "decide") and pin:
        changes.append((f"version {pin}", "stable", "retired"))
    if kind == "rollout":
        told = "The version gets a part of the traffic first, and is promoted if it answers as well as the stable one."
    if kind == "rollback":
        changes.append((f"version {pin}", "stable", "quarantined"))
        told = f"Neither version {pin} nor the same bytes will be promoted again, until somebody releases them."
    if kind == "quarantine":
        if not pin and (after := _newest(model, without=target)) != now:
            changes.append(("in production", now, after))
        changes.append((f"version {target}", str(stage), "quarantined"))
        told = "Neither it nor the same bytes will be promoted until somebody releases them." + (
            " Only the store is changed: a cluster that serves it goes on." if has_cluster else ""
        )
    if kind == "release":
        changes.append((f"version {target}", "quarantined", "retired"))
        told = "It, and the same bytes under other numbers, may be promoted again."
    if kind == "abort":
        changes.append((f"version {target}", "canary", "not judged: it may be started again"))
    if kind == "retrain":
        changes.append(("versions", str(len(model.versions)), "one more, if it passes its gate"))
        told = "A training of the module as it is now. "
        if has_cluster:
            told += "Its run rolls out a version that passes, by way of a canary."
        elif pin:
            told += f"Version {pin} stays in production until another one is promoted."
        else:
            told += "While no version is promoted, the newest is in production: so would that one be."
    is_long = kind in ("rollout", "retrain", "decide", "abort") or (kind == "rollback" and has_cluster)
    title = titled(kind, name, target)
    return Plan(kind, name, target, title, tuple(changes), told, Seen(pin, stage), is_long)


def _newest(model: Model, without: int | None = None) -> str:
    """What is in production while no version is promoted."""
    number = production(model.state, model.versions.keys() - {without})
    return f"version {number}, the newest" if number else "none"


def titled(kind: Kind, model: str, number: int | None) -> str:
    """An action and what it is done with."""
    if kind in OF_VERSION:
        return f"{TITLES[kind]} version {number} of {model}"
    return {"rollback": f"Roll back {model}", "retrain": f"Train {model} again"}.get(kind, f"{TITLES[kind]} of {model}")


def command(kind: Kind, model: Model, number: int | None, environment: Environment, why: str = "REASON") -> str:
    """The command that does the same."""
    name, has_cluster = model.name, bool(environment.settings.serving.overlay)
    one = f"{name}/{number}"
    words = {
        "promote": ["models", "promote", one],
        "rollout": ["rollout", "start", one],
        "rollback": ["rollout", "rollback", name] if has_cluster else ["models", "rollback", name],
        "quarantine": ["models", "quarantine", one],
        "release": ["models", "release", one],
        "retrain": ["run", name],
        "decide": ["rollout", "promote", name],
        "abort": ["rollout", "abort", name],
    }[kind]
    if kind == "retrain" and environment.settings.remote_home:
        words = ["monitor", "ask", name, "--target", training_target(environment), "--why", "hand"]
    reason = [] if kind == "retrain" else ["--why", why]
    where = ["--env", environment.name] if environment.name else []
    return shlex.join(["slipway", *words, *reason, *where])


def training_target(environment: Environment) -> RemoteTarget:
    """Where an environment trains: the target of its deliveries, unless the settings name the other one alone."""
    own = environment.settings.delivery.target
    other: RemoteTarget = "vertex" if own == "kubeflow" else "kubeflow"
    return other if environment.has_target(other) and not environment.has_target(own) else own


def from_console() -> str:
    """The name that the console gives itself in a history, beside the account of its process."""
    return f"console of {user_at_host()}"


def act(environment: Environment, plan: Plan, why: str) -> int:
    """Does at once what is decided in the store; returns the number of the line that the history got.

    A change of what the plan saw is a `ChangedMeanwhileError`.
    """
    assert plan.number is not None
    store = environment.store()
    change = VersionChange(environment, store, plan.model, why, from_console(), plan.seen)
    acts: dict[Kind, Callable[[int], Event]] = {
        "promote": change.promote, "rollback": change.roll_back, "quarantine": change.quarantine,
        "release": change.release,
    }  # fmt: skip
    event = acts[plan.kind](plan.number)
    return store.history(plan.model).index(event)
