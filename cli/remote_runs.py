"""How runs on a cluster are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cli.output import colour, local_time, print_json, print_steps, print_table

if TYPE_CHECKING:
    from cli.targets import RemoteTarget
    from delivery.targets.base import RemoteRun, Target


def open_place(target: RemoteTarget, env: str | None) -> Target:
    """The target as an environment's settings have it."""
    from cli.targets import open_target
    from settings.load import load_settings

    return open_target(load_settings(env), target, env)


def newest(place: Target) -> str:
    """The id of the newest run there."""
    from slipway.errors import TargetError

    newest = place.list(1)
    if not newest:
        raise TargetError(f"{place.name} has no runs of Slipway's; `slipway submit` makes one")
    return newest[0].id


def list_remote(target: RemoteTarget, env: str | None, limit: int, *, as_json: bool) -> None:
    """Prints the newest runs."""
    from slipway.pages.numbers import format_seconds

    found = open_place(target, env).list(limit)
    if as_json:
        print_json([run_as_json(run) for run in found])
    elif not found:
        typer.echo(f"There are no runs of Slipway's on {target}; `slipway submit` makes one.")
    else:
        rows = [
            [
                run.name,
                run.state,
                run.labels.get("module", ""),
                run.labels.get("git-revision", "")[:12],
                local_time(run.created),
                format_seconds(run.finished - run.created) if run.finished else "",
                run.title,
            ]
            for run in found
        ]
        print_table(["run", "state", "module", "revision", "created", "took", "listed as"], rows, numbers=["took"])


def show_remote(run: str | None, target: RemoteTarget, env: str | None, *, as_json: bool) -> None:
    """Prints one run, the newest by default: how it stands, its steps, where it comes from."""
    place = open_place(target, env)
    found = place.show(run or newest(place))
    if as_json:
        print_json(run_as_json(found))
        return
    print_end(found)
    print_steps(found.steps)
    for name, value in {"listed as": found.title, **found.labels, "address": found.url}.items():
        typer.echo(f"{typer.style(f'{name:<16}', dim=True)} {value}")


def run_as_json(run: RemoteRun) -> dict[str, Any]:
    """A run on a target, for programs; keys are only ever added."""
    steps = ("name", "state", "seconds", "cached", "error")
    return {
        "run": run.name,
        "id": run.id,
        "title": run.title,
        "state": run.state,
        "url": run.url,
        "created": run.created,
        "finished": run.finished,
        "error": run.error,
        "labels": run.labels,
        "steps": [{key: getattr(step, key) for key in steps} for step in run.steps],
    }


def print_end(run: RemoteRun) -> None:
    """How a run ended, and why."""
    reason = f": {run.error}" if run.error else ""
    typer.echo(f"{run.name}: {colour(run.state)}{reason}")
    for step in run.steps:
        if step.state == "failed":
            typer.echo(f"  {step.name} failed" + (f": {step.error}" if step.error else ""))
