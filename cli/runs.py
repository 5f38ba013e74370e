"""`slipway runs`: runs on this machine or on a cluster."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import options
from cli.output import echo, iso_times, local_time, print_fact, print_json, print_state, print_steps, print_table
from cli.remote_runs import list_remote, show_remote
from delivery.environment import Environment, open_environment
from delivery.targets.base import newest_run
from slipway.errors import StoreError
from slipway.pages.numbers import format_number, format_seconds
from slipway.runs import prune as pruning
from slipway.runs.store import RunView, assignments, distinctions, list_runs, load_run
from slipway.runs.summary import read_evaluation_of

app = typer.Typer(no_args_is_help=True)

WORST_SLICES = 5
WIDTH = 90


@app.command("list")
def list_(
    target: options.TargetOrHere = None,
    env: options.Env = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many of a cluster's newest runs.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List runs, newest first: all of this machine's, or a cluster's newest."""
    environment = open_environment(env)
    if target:
        list_remote(environment.target(target), limit, as_json=as_json)
        return
    views = list_runs(environment.local.runs)
    if as_json:
        print_json([view_as_json(view) for view in views])
    elif not views:
        echo(f"There are no runs in {environment.local.runs}; `slipway run` makes one.")
    else:
        rows = [
            [
                view.name,
                view.state,
                view.summary.verdict if view.summary.verdict != "none" else "",
                str(view.summary.pushed_version or ""),
                local_time(view.summary.lineage.started),
                format_seconds(view.seconds),
                distinction,
                view.problem or ("" if view.state == "succeeded" else next(iter(view.summary.reasons), "")),
            ]
            for view, distinction in zip(views, distinctions(views), strict=True)
        ]
        columns = ["run", "state", "verdict", "version", "started", "took", "differs in", "remark"]
        print_table(columns, rows, numbers=["took"])


@app.command()
def show(
    run: options.Run = None,
    target: options.TargetOrHere = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Show one run: steps, rows, metrics, verdict and its reasons; of a cluster's run state, steps and labels."""
    environment = open_environment(env)
    if target:
        show_remote(run, environment.target(target), as_json=as_json)
        return
    view = load_run(environment.local.runs, run)
    if as_json:
        print_json(view_as_json(view))
        return
    print_state(view.name, view.state)
    print_steps(view.steps)
    echo("")
    print_outcome(view)


@app.command()
def logs(
    run: options.Run = None,
    step: Annotated[str | None, typer.Option(help="One step, like train_model; all of them by default.")] = None,
    target: options.TargetOrHere = None,
    env: options.Env = None,
) -> None:
    """Print the logs of a run's steps."""
    environment = open_environment(env)
    if target:
        cluster = environment.target(target)
        for line in cluster.logs(run or newest_run(cluster).id, step):
            echo(line)
    else:
        _print_local_logs(environment, run, step)


@app.command()
def cancel(
    run: Annotated[str, typer.Argument(help="Name or id of a run.")], target: options.Target, env: options.Env = None
) -> None:
    """Cancel a run on a cluster; Ctrl-C ends one on this machine."""
    found = open_environment(env).target(target).cancel(run)
    print_state(found.name, found.state, "; cancellation was requested")
    echo(found.url)


@app.command()
def prune(
    keep: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Keep the newest N runs of each pipeline and module.")
    ] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Remove only runs that began more than DAYS days ago.")
    ] = None,
    dry_run: options.DryRun = False,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Remove old runs of this machine, with their artifacts, sources, checkpoints and cache entries.

    Kept in any case: running runs, runs that pushed versions of the model store, the runs that the next one is compared
    with, and every artifact and source that a kept run or version names.
    """
    if keep is None and older_than is None:
        raise typer.BadParameter("give --keep N, --older-than DAYS or both", param_hint="--keep")
    environment = open_environment(env)
    home = environment.settings.home
    work = pruning.find_prunable if dry_run else pruning.prune
    found = work(home, environment.store(environment.local.store), keep or 0, older_than or 0.0)
    if as_json:
        lists = {key: list(map(str, getattr(found, key))) for key in ("runs", "artifacts", "inputs", "cache")}
        print_json({"dry_run": dry_run, "bytes": found.size} | lists)
        return
    for run in found.runs:
        echo(f"  {run.name}")
    echo(
        f"{'Would remove' if dry_run else 'Removed'} from {home}: {found.size / 2**20:,.1f} MiB; "
        f"runs: {len(found.runs)}, folders of steps: {len(found.artifacts)}, "
        f"sources and checkpoints: {len(found.inputs)}, cache entries: {len(found.cache)}"
    )


def view_as_json(view: RunView) -> dict[str, Any]:
    """A run of this machine, for programs."""
    return iso_times(view.as_json(), "started")


def print_outcome(view: RunView) -> None:
    """Prints the results of a run: rows, metrics, worst slices, verdict and reasons, paths."""
    summary = view.summary
    rows = summary.rows
    if rows.read:
        counts = (
            f"{rows.read:,} read, {rows.quarantined:,} quarantined, {rows.train:,} to train, {rows.eval:,} to evaluate"
        )
        print_fact("rows", counts)
    if summary.metrics:
        metrics = ", ".join(f"{name} {format_number(value)}" for name, value in summary.metrics.items())
        for index, line in enumerate(textwrap.wrap(metrics, WIDTH)):
            print_fact("" if index else "metrics", line)
    _print_worst(view)
    if summary.lineage.overrides:
        print_fact("overrides", assignments(summary.lineage.overrides))
    if summary.lineage.hyperparameters:
        print_fact("model", assignments(summary.lineage.hyperparameters))
    _print_verdict(view)
    for reason in summary.reasons:
        print_fact("", f"- {reason}")
    if view.problem:
        print_fact("problem", view.problem)
    failed = next((step for step in view.steps if step.name == summary.failed_step), None)
    if failed and failed.log:
        print_fact("log", failed.log)
        # An error of ours is complete in itself; any other needs its stack trace.
        for line in (failed.error or "").splitlines() if '  File "' in (failed.error or "") else []:
            print_fact("", f"| {line}")
    if summary.pushed_path:
        print_fact("pushed", summary.pushed_path)
    if view.report:
        print_fact("report", view.report)


def _print_local_logs(environment: Environment, run: str | None, step: str | None) -> None:
    view = load_run(environment.local.runs, run)
    logged = {one.name: one.log for one in view.steps if one.log and Path(one.log).is_file()}
    if step is not None and step not in logged:
        raise StoreError(f"{view.name} has no log of {step!r}; it has {', '.join(logged) or 'none'}")
    for name, path in logged.items():
        if step in (None, name):
            for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
                echo(line if step else f"{name}: {line}")


def _print_verdict(view: RunView) -> None:
    summary = view.summary
    if summary.verdict == "pushed":
        print_fact("verdict", f" as version {summary.pushed_version}", state="pushed")
    elif summary.verdict == "refused":
        print_fact("verdict", ": the model was not pushed", state="refused")
    elif summary.told:
        print_fact("verdict", summary.told.text)
    else:
        where = f" at {summary.failed_step or 'an unknown step'}" if view.state == "failed" else ""
        without = f": {summary.lineage.shows.no_verdict}" if summary.lineage.shows.no_verdict else ""
        print_fact("verdict", f"{where}{without}", state=view.state)


def _print_worst(view: RunView) -> None:
    evaluation = read_evaluation_of(view.summary.lineage, view.summary.artifacts)
    if evaluation is None or not evaluation.worst:
        return
    name = evaluation.worst_metric
    for index, one in enumerate(evaluation.worst[:WORST_SLICES]):
        value = format_number(one.candidate.get(name))
        print_fact("" if index else "worst", f"{name} on {one.name} {value} (n={one.examples:,})")
