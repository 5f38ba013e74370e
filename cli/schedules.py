"""`slipway schedules`: recurring runs, as the settings have them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.output import echo, print_json, print_table
from delivery.environment import open_environment
from delivery.schedules import Action, plan, remove
from delivery.schedules import apply as converge
from delivery.submission import recurring_runs
from delivery.targets.base import RemoteSchedule
from slipway.errors import TargetError
from slipway.targets import RemoteTarget

app = typer.Typer(no_args_is_help=True)

MaybeTarget = Annotated[
    RemoteTarget | None,
    typer.Option("--target", help="The only one of the settings by default.", callback=options.keep),
]


@app.command()
def apply(
    target: MaybeTarget = None, env: options.Env = None, dry_run: options.DryRun = False, as_json: options.Json = False
) -> None:
    """Create, replace and remove recurring runs so that the target has exactly those of the settings."""
    environment = open_environment(env)
    cluster = environment.target(target)
    taken: list[Action] = []

    def take(action: Action) -> None:
        taken.append(action)
        if not as_json:
            echo(f"{action.verb} {action.name}: {action.why}")

    with recurring_runs(environment, cluster.name, publish=not dry_run) as wanted:
        if dry_run:
            for action in plan(wanted, cluster.schedules.list()):
                take(action)
        else:
            converge(wanted, cluster.schedules, take)
    if as_json:
        print_json([{"action": action.verb, "name": action.name, "why": action.why} for action in taken])
    elif not taken:
        echo(f"{cluster.name} has all schedules of the settings: nothing to do")


@app.command("list")
def list_(target: MaybeTarget = None, env: options.Env = None, as_json: options.Json = False) -> None:
    """List Slipway's recurring runs on the target, next to the schedules of the settings."""
    environment = open_environment(env)
    found = environment.target(target).schedules.list()
    wanted = {name: one for name, one in environment.settings.schedules.items() if one.enabled}
    missing = sorted(wanted.keys() - {one.name for one in found})
    if as_json:
        there = [{"name": one.name, "id": one.id, "cron": one.cron, "enabled": one.enabled, "stale": one.stale,
                  "archived": one.archived, "url": one.url, "in_settings": one.name in wanted}
                 for one in found]  # fmt: skip
        print_json(there + [{"name": name, "id": None, "in_settings": True} for name in missing])
        return
    rows = [[one.name, _state(one), one.cron, _remark(one, one.name in wanted), one.url] for one in found]
    rows += [[name, "missing", wanted[name].cron, "`slipway schedules apply` creates it", ""] for name in missing]
    if rows:
        print_table(["schedule", "state", "cron (UTC)", "remark", "address"], rows)
    else:
        echo("There are no schedules, on the target or in the settings.")


def _state(one: RemoteSchedule) -> str:
    if one.enabled:
        return "enabled"
    return "archived" if one.archived else "paused"


def _remark(one: RemoteSchedule, in_settings: bool) -> str:
    """What keeps it from running as the settings say, and what mends that."""
    if not in_settings:
        return "not in the settings"
    if one.archived:
        return f"restore the experiment {one.archived} in Kubeflow's UI"
    if one.stale:
        return f"{one.stale}; `slipway schedules apply` makes it anew"
    return "" if one.enabled else "`slipway schedules apply` enables it"


@app.command()
def delete(
    names: Annotated[list[str], typer.Argument(help="Names of schedules.")],
    target: MaybeTarget = None,
    env: options.Env = None,
    dry_run: options.DryRun = False,
) -> None:
    """Remove recurring runs from the target; `apply` creates those of the settings again."""
    schedules = open_environment(env).target(target).schedules
    known = {one.name for one in schedules.list()}
    if unknown := sorted(set(names) - known):
        raise TargetError(f"there is no schedule {', '.join(unknown)}; there are {', '.join(sorted(known)) or 'none'}")
    if dry_run:
        for name in sorted(set(names)):
            echo(f"delete {name}: asked for")
    else:
        remove(names, schedules, lambda action: echo(f"delete {action.name}: {action.why}"))
