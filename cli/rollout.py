"""`slipway rollout`: rolls a version out to a cluster through a canary, and back."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import typer.core

from cli import options
from cli.output import echo, iso_times, local_time, print_json, print_table
from delivery.environment import open_environment
from delivery.rollout import model_of, open_rollout, roll_back, rollout_status
from delivery.rollout import refresh as refresh_overlay
from slipway.errors import RolloutInconclusiveError, StoreError
from slipway.lineage import describe_actor

HELD = 3


class _Group(typer.core.TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RolloutInconclusiveError as error:
            echo(f"held: {error}", err=True)
            raise typer.Exit(HELD) from error


app = typer.Typer(cls=_Group, no_args_is_help=True, epilog="Exit code 3: too little traffic to decide.")

Force = Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that were changed by hand.")]
Model = Annotated[str | None, typer.Argument(help="Name of a model; where the store has only one, that by default.")]
DECIDED = "decided by hand"


@app.command()
def start(
    version: Annotated[
        str | None, typer.Argument(help="VERSION, MODEL/VERSION or MODEL; the newest by default.")
    ] = None,
    env: options.Env = None,
    old_model: Annotated[str | None, typer.Option("--model", hidden=True)] = None,
    why: options.Why = "",
    force: Force = False,
) -> None:
    """Start a rollout, or resume an interrupted one: canary, checks, then promotion or rollback."""
    environment = open_environment(env)
    named, _, number = (version or "").rpartition("/")
    if not number.isdigit():
        named, number = version or "", ""
    store = environment.store()
    model = model_of(store, named or old_model)
    known = [one.number for one in store.versions(model)]
    if not number and not known:
        raise StoreError(f"the model store has no version of {model}; `slipway run` pushes one")
    with open_rollout(environment, model, echo, force=force) as rollout:
        rollout.start(int(number) if number else known[-1], why)


@app.command(cls=options.OldSpellings)
def promote(model: Model = None, env: options.Env = None, why: options.Why = DECIDED, force: Force = False) -> None:
    """Promote the version whose canary waits for a decision."""
    environment = open_environment(env)
    with open_rollout(environment, model_of(environment.store(), model), echo, force=force) as rollout:
        rollout.promote(why)


@app.command(cls=options.OldSpellings)
def abort(model: Model = None, env: options.Env = None, why: options.Why = DECIDED) -> None:
    """Remove the canary; its version may be started again."""
    environment = open_environment(env)
    with open_rollout(environment, model_of(environment.store(), model), echo) as rollout:
        rollout.abort(why)


@app.command(cls=options.OldSpellings)
def rollback(
    context: typer.Context,
    model: Model = None,
    env: options.Env = None,
    leave: options.Leave = None,
    why: options.Why = "rolled back by hand",
    force: Force = False,
) -> None:
    """Roll back to the previously promoted version, and quarantine the one that serves now."""
    environment = open_environment(env)
    model = model_of(environment.store(), model)
    roll_back(environment, model, echo, why, leave, options.asked(context), force=force)


@app.command()
def refresh(env: options.Env = None, force: Force = False) -> None:
    """Roll out the current overlay for every model in production; versions do not change."""
    refresh_overlay(open_environment(env), echo, force=force)


@app.command(cls=options.OldSpellings)
def status(model: Model = None, env: options.Env = None, as_json: options.Json = False) -> None:
    """Show the served versions, the holder of the rollout's lock, and the last decision; of all models by default."""
    environment = open_environment(env)
    store = environment.store()
    found = rollout_status(environment, store.models() if model is None else [model_of(store, model)])
    if as_json:
        shown = [_as_json(one) for one in found]
        print_json(shown if model is None else shown[0])
    else:
        _print_status(found)
        if not found:
            echo("The model store is empty; `slipway run` pushes a model when it passes its gate.")
    if any("error" in one for one in found):
        raise typer.Exit(1)


def _as_json(found: dict[str, Any]) -> dict[str, Any]:
    last = found.get("rollout")
    return found | {"rollout": iso_times(last, "started", "updated")} if last else found


def _print_status(found: list[dict[str, Any]]) -> None:
    rows = [
        [one["model"], track, str(its["version"]), f"{its['ready']} of {its['replicas']}", "paused" * its["paused"]]
        if (its := one[track])
        else [one["model"], track, "none", "", ""]
        for one in found
        if "error" not in one
        for track in ("stable", "canary")
    ]
    if rows:
        print_table(["model", "", "version", "ready", ""], rows)
    for one in found:
        if "error" in one:
            echo(f"{one['model']}: error: {one['error']}", err=True)
            continue
        echo(f"{one['model']} in {one['namespace']}; production in the model store: {one['production'] or 'none'}")
        if one["holder"]:
            lease = "the lease has expired; it was held by" if one["expired"] else "running:"
            echo(f"{lease} {one['holder']} since {one['held_since']}")
        if last := one["rollout"]:
            left = f", after version {last['left']} was left" if last["left"] else ""
            actor = describe_actor(last["who"], last["says"])
            echo(f"version {last['version']}: {last['phase']}{left} since {local_time(last['updated'])}, by {actor}")
            for reason in last["reasons"]:
                echo(f"  - {reason}")
            if one["commands"] and (one["expired"] or not one["holder"]):
                echo(f"it waits for {' or '.join(f'`{command}`' for command in one['commands'])}")
