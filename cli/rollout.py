"""`slipway rollout`: rolls a version out to a cluster through a canary, and back."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import typer.core

from cli import options
from cli.output import echo, iso_times, local_time, print_json, print_table
from delivery.environment import open_environment
from delivery.rollout import open_rollout, roll_back, rollout_status
from delivery.rollout import refresh as refresh_overlay
from slipway.errors import RolloutInconclusiveError, StoreError

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
DECIDED = "decided by hand"


@app.command()
def start(
    version: Annotated[str | None, typer.Argument(help="VERSION, MODEL/VERSION or MODEL; taxi by default.")] = None,
    env: options.Env = None,
    old_model: Annotated[str | None, typer.Option("--model", hidden=True)] = None,
    force: Force = False,
) -> None:
    """Start a rollout, or resume an interrupted one: canary, checks, then promotion or rollback."""
    model, _, number = (version or "").rpartition("/")
    if not number.isdigit():
        model, number = version or "", ""
    with open_rollout(open_environment(env), model or old_model or options.TAXI, echo, force=force) as rollout:
        known = [one.number for one in rollout.store.versions(rollout.model)]
        if not number and not known:
            raise StoreError(f"the model store has no version of {rollout.model}; `slipway run` pushes one")
        rollout.start(int(number) if number else known[-1])


@app.command(cls=options.OldSpellings)
def promote(
    model: options.Model = options.TAXI, env: options.Env = None, why: options.Why = DECIDED, force: Force = False
) -> None:
    """Promote the version whose canary waits for a decision."""
    with open_rollout(open_environment(env), model, echo, force=force) as rollout:
        rollout.promote(why)


@app.command(cls=options.OldSpellings)
def abort(model: options.Model = options.TAXI, env: options.Env = None, why: options.Why = DECIDED) -> None:
    """Remove the canary; its version may be started again."""
    with open_rollout(open_environment(env), model, echo) as rollout:
        rollout.abort(why)


@app.command(cls=options.OldSpellings)
def rollback(
    context: typer.Context,
    model: options.Model = options.TAXI,
    env: options.Env = None,
    leave: options.Leave = None,
    why: options.Why = "rolled back by hand",
    force: Force = False,
) -> None:
    """Roll back to the previously promoted version, and quarantine the one that serves now."""
    roll_back(open_environment(env), model, echo, why, leave, options.asked(context), force=force)


@app.command()
def refresh(env: options.Env = None, force: Force = False) -> None:
    """Roll out the current overlay for every model in production; versions do not change."""
    refresh_overlay(open_environment(env), echo, force=force)


@app.command(cls=options.OldSpellings)
def status(model: options.Model = options.TAXI, env: options.Env = None, as_json: options.Json = False) -> None:
    """Show the served versions, the holder of the rollout's lock, and the last decision."""
    found = rollout_status(open_environment(env), model)
    last = found["rollout"]
    if as_json:
        print_json(found | {"rollout": iso_times(last, "started", "updated") if last else None})
        return
    echo(f"{found['model']} in {found['namespace']}; production in the model store: {found['production'] or 'none'}")
    rows = [
        [track, str(its["version"]), f"{its['ready']} of {its['replicas']}"] if its else [track, "none", ""]
        for track, its in ((track, found[track]) for track in ("stable", "canary"))
    ]
    print_table(["", "version", "ready"], rows)
    if found["holder"]:
        echo(f"running: {found['holder']} since {found['held_since']}")
    if last:
        echo(f"version {last['version']}: {last['phase']} since {local_time(last['updated'])}, by {last['who']}")
        for reason in last["reasons"]:
            echo(f"  - {reason}")
