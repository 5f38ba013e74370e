"""`slipway rollout`: a version into a cluster through a canary, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from cli import options
from cli.output import echo, iso_times, local_time, print_json, print_table
from delivery.environment import open_environment
from delivery.rollout import open_rollout, roll_back
from delivery.rollout import refresh as refresh_overlay
from serving.rollout.engine import Rollout
from slipway.errors import RolloutInconclusiveError, StoreError

HELD = 3

app = typer.Typer(no_args_is_help=True, epilog="Exit code 3: too little traffic to decide.")

Force = Annotated[
    bool, typer.Option("--force-conflicts", help="Take over fields that somebody changed by hand in the cluster.")
]
DECIDED = "decided by hand"


@app.command()
def start(
    what: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="VERSION, MODEL/VERSION, or MODEL for its newest; of taxi by default."),
    ] = None,
    env: options.Env = None,
    old_model: options.OldModel = None,
    force: Force = False,
) -> None:
    """Start a version's rollout, or go on with one whose process died: canary, checks, then promotion or rollback."""
    model, _, number = (what or "").rpartition("/")
    if not number.isdigit():
        model, number = what or "", ""
    with _open(env, options.named(model, old_model), force) as rollout:
        rollout.start(int(number) if number else _newest(rollout))


@app.command()
def promote(
    model: options.MaybeModel = None,
    env: options.Env = None,
    old_model: options.OldModel = None,
    why: options.Why = DECIDED,
    force: Force = False,
) -> None:
    """Promote the version whose canary waits for a decision."""
    with _open(env, options.named(model, old_model), force) as rollout:
        rollout.promote(why)


@app.command()
def abort(
    model: options.MaybeModel = None,
    env: options.Env = None,
    old_model: options.OldModel = None,
    why: options.Why = DECIDED,
) -> None:
    """Remove the canary; its version may be started again."""
    with _open(env, options.named(model, old_model)) as rollout:
        rollout.abort(why)


@app.command()
def rollback(
    context: typer.Context,
    model: options.MaybeModel = None,
    env: options.Env = None,
    old_model: options.OldModel = None,
    leave: options.Leave = None,
    why: options.Why = "rolled back by hand",
    force: Force = False,
) -> None:
    """Go back to the version that was promoted before, and quarantine the one that serves when this is typed."""
    name, asked = options.named(model, old_model), options.asked(context)
    with _held():
        roll_back(open_environment(env), name, echo, why, leave, asked, force=force)


@app.command()
def refresh(env: options.Env = None, force: Force = False) -> None:
    """Roll the overlay, as it is now, out for every model in production; the versions stay."""
    with _held():
        refresh_overlay(open_environment(env), echo, force=force)


@app.command()
def status(
    model: options.MaybeModel = None,
    env: options.Env = None,
    old_model: options.OldModel = None,
    as_json: options.Json = False,
) -> None:
    """Show the versions that serve, who holds the rollout's lock, and the last decision."""
    with _open(env, options.named(model, old_model)) as rollout:
        found = rollout.status()
    if as_json:
        last = found["rollout"]
        print_json(found | {"rollout": iso_times(last, "started", "updated") if last else None})
    else:
        _print(found)


@contextmanager
def _open(env: str | None, model: str, force: bool = False) -> Iterator[Rollout]:
    with _held(), open_rollout(open_environment(env), model, echo, force=force) as rollout:
        yield rollout


@contextmanager
def _held() -> Iterator[None]:
    try:
        yield
    except RolloutInconclusiveError as error:
        echo(f"held: {error}", err=True)
        raise typer.Exit(HELD) from error


def _newest(rollout: Rollout) -> int:
    versions = rollout.store.versions(rollout.model)
    if not versions:
        raise StoreError(f"the model store has no version of {rollout.model}; `slipway run` pushes one")
    return versions[-1].number


def _print(found: dict[str, Any]) -> None:
    echo(f"{found['model']} in {found['namespace']}; production in the model store: {found['production'] or 'none'}")
    rows = [
        [track, str(its["version"]), f"{its['ready']} of {its['replicas']}"] if its else [track, "none", ""]
        for track, its in ((track, found[track]) for track in ("stable", "canary"))
    ]
    print_table(["", "version", "ready"], rows)
    if found["holder"]:
        echo(f"at work: {found['holder']} since {found['held_since']}")
    if last := found["rollout"]:
        echo(f"version {last['version']}: {last['phase']} since {local_time(last['updated'])}, by {last['who']}")
        for reason in last["reasons"]:
            echo(f"  - {reason}")
