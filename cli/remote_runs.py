"""How runs on a cluster are printed."""

from __future__ import annotations

from typing import Any

from cli.output import echo, iso_times, local_time, print_fact, print_json, print_state, print_steps, print_table
from delivery.targets.base import RemoteRun, Target, newest_run
from slipway.pages.numbers import format_seconds


def list_remote(target: Target, limit: int, *, as_json: bool) -> None:
    """Prints the newest runs."""
    found = target.list(limit)
    if as_json:
        print_json([_as_json(run) for run in found])
    elif not found:
        echo(f"There are no runs of Slipway's on {target.name}; `slipway submit` makes one.")
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


def show_remote(run: str | None, target: Target, *, as_json: bool) -> None:
    """Prints one run, the newest by default: its state, its steps, its labels."""
    found = target.show(run or newest_run(target).id)
    if as_json:
        print_run_as_json(found)
        return
    print_end(found)
    print_steps(found.steps)
    for name, value in {"listed as": found.title, **found.labels, "address": found.url}.items():
        print_fact(name, value, width=16)


def print_run_as_json(run: RemoteRun) -> None:
    """Prints a run on a target, for programs."""
    print_json(_as_json(run))


def _as_json(run: RemoteRun) -> dict[str, Any]:
    """A run on a target; keys are only ever added."""
    steps = ("name", "state", "seconds", "cached", "error")
    record = {
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
    return iso_times(record, "created", "finished")


def print_end(run: RemoteRun) -> None:
    """Prints how a run ended, and why."""
    print_state(run.name, run.state, f": {run.error}" if run.error else "")
    for step in run.steps:
        if step.state == "failed":
            echo(f"  {step.name} failed" + (f": {step.error}" if step.error else ""))
