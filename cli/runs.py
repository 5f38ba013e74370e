"""`slipway runs`, `report` and `explain`: runs on this machine or on a cluster."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import options
from cli.output import (
    echo,
    format_metrics,
    iso_times,
    local_time,
    print_fact,
    print_json,
    print_state,
    print_steps,
    print_table,
)
from delivery.environment import Environment, open_environment
from delivery.records import complete_records
from delivery.targets.base import RemoteRun, Target, newest_run
from slipway.errors import SlipwayError, StoreError
from slipway.pages.numbers import format_number, format_seconds
from slipway.runs import prune as pruning
from slipway.runs.explain import explain_run, explain_version
from slipway.runs.report import write_report
from slipway.runs.store import RunView, assignments, distinctions, list_runs, load_run
from slipway.runs.summary import read_data_warnings_of, read_evaluation_of
from slipway.stores import storage
from slipway.targets import RemoteTarget

app = typer.Typer(no_args_is_help=True)

WORST_SLICES = 5
SHOWN_WARNINGS = 3
WIDTH = 90

Run = Annotated[str | None, typer.Argument(help="Name of a run, or its beginning; the newest by default.")]
TargetOrHere = Annotated[RemoteTarget | None, typer.Option("--target", help="A cluster; this machine by default.")]
TargetOrState = Annotated[
    RemoteTarget | None, typer.Option("--target", help="A cluster; this machine, or remote_home, by default.")
]


@app.command("list")
def list_(
    target: TargetOrHere = None,
    env: options.Env = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many of a cluster's newest runs.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List runs, newest first: all of this machine's, or a cluster's newest.

    Of a cluster's runs, records are made that the exit handler did not make, and those of cancelled runs are corrected.
    """
    environment = open_environment(env)
    if target:
        cluster = environment.target(target)
        found = cluster.list(limit)
        _complete(environment, cluster, found)
        records = [remote_as_json(run) for run in found]
        columns = ["run", "state", "module", "revision", "created", "took", "listed as"]
        rows = [_remote_row(run) for run in found]
        nothing = f"There are no runs of Slipway's on {target}; `slipway submit` makes one."
    else:
        views = list_runs(environment.local.runs)
        records = [view_as_json(view) for view in views]
        columns = ["run", "state", "verdict", "version", "started", "took", "differs in", "remark"]
        rows = [_row(view, distinction) for view, distinction in zip(views, distinctions(views), strict=True)]
        nothing = f"There are no runs in {environment.local.runs}; `slipway run` makes one."
    if as_json:
        print_json(records)
    elif rows:
        print_table(columns, rows, numbers=["took"])
    else:
        echo(nothing)


@app.command()
def show(run: Run = None, target: TargetOrHere = None, env: options.Env = None, as_json: options.Json = False) -> None:
    """Show one run: steps, rows, metrics, verdict and reasons; for a cluster's run: state, steps, labels."""
    environment = open_environment(env)
    if target:
        cluster = environment.target(target)
        found = cluster.show(run or newest_run(cluster).id)
        if as_json:
            print_json(remote_as_json(found))
            return
        print_end(found)
        print_steps(found.steps)
        for name, value in {"listed as": found.title, **found.labels, "address": found.url}.items():
            print_fact(name, value, width=16)
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
    run: Run = None,
    step: Annotated[str | None, typer.Option(help="One step, like train_model; all of them by default.")] = None,
    target: TargetOrHere = None,
    env: options.Env = None,
) -> None:
    """Print the logs of a run's steps."""
    environment = open_environment(env)
    if target:
        cluster = environment.target(target)
        for line in cluster.logs(run or newest_run(cluster).id, step):
            echo(line)
        return
    view = load_run(environment.local.runs, run)
    logged = {one.name: one.log for one in view.steps if one.log and Path(one.log).is_file()}
    if step is not None and step not in logged:
        raise StoreError(f"{view.name} has no log of {step!r}; it has {', '.join(logged) or 'none'}")
    for name, path in logged.items():
        if step in (None, name):
            for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
                echo(line if step else f"{name}: {line}")


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


def report(
    run: Run = None, target: TargetOrState = None, env: options.Env = None, as_json: options.Json = False
) -> None:
    """Write a run's report, one HTML page that needs no network, and print its path.

    The report of a run on a cluster is copied to this machine.
    """
    environment = open_environment(env)
    view = _recorded(environment, run, target)
    if storage.is_remote(view.uri):
        path = str(environment.settings.home / "reports" / f"{view.name}.html")
        storage.copy(view.report or write_report(view), path)
    else:
        path = write_report(view)
    if as_json:
        print_json({"run": view.name, "report": path})
    else:
        echo(path)


def explain(
    what: Annotated[str | None, typer.Argument(metavar="RUN|VERSION", help="The newest run by default.")] = None,
    target: TargetOrState = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Explain why a model was or was not pushed, with thresholds, slices, baseline and digests."""
    environment = open_environment(env)
    if what and ("/" in what or what.isdigit()):
        explanation = explain_version(what, environment.state.runs, environment.store())
    else:
        explanation = explain_run(_recorded(environment, what, target), environment.store())
    if as_json:
        record = iso_times(explanation.as_json(), "started")
        print_json(record | {"history": [iso_times(event, "when") for event in record["history"]]})
    else:
        echo(explanation.text())


def _recorded(environment: Environment, name: str | None, target: RemoteTarget | None) -> RunView:
    """The record of a run; the newest without a name. Without a target, a run of this machine comes first."""
    if target:
        cluster = environment.target(target)
        found = cluster.show(name) if name else newest_run(cluster)
        _complete(environment, cluster, [found])
        return load_run(environment.remote.runs, found.name)
    here = environment.settings.home / "runs"
    return load_run(here if name and (here / name).is_dir() else environment.state.runs, name)


def _complete(environment: Environment, cluster: Target, runs: list[RemoteRun]) -> None:
    """Completes the records of runs, and says so. Who may not read or write records sees the runs all the same."""
    try:
        for view in complete_records(cluster, environment.remote.runs, runs):
            echo(f"recorded {view.name} as {view.state}, which its exit handler did not", err=True)
    except SlipwayError as error:
        echo(f"warning: records were not compared with {cluster.name}: {error}", err=True)


def view_as_json(view: RunView) -> dict[str, Any]:
    """A run of this machine, for programs."""
    return iso_times(view.as_json(), "started")


def remote_as_json(run: RemoteRun) -> dict[str, Any]:
    """A run on a target, for programs; keys are only ever added."""
    own = ("id", "title", "state", "url", "created", "finished", "error", "labels")
    steps = [{key: getattr(step, key) for key in ("name", "state", "seconds", "cached", "error")} for step in run.steps]
    record = {"run": run.name, **{key: getattr(run, key) for key in own}, "steps": steps}
    return iso_times(record, "created", "finished")


def print_end(run: RemoteRun) -> None:
    """Prints the state of a run on a target, and why steps failed or wait."""
    print_state(run.name, run.state, f": {run.error}" if run.error else "")
    for step in run.steps:
        if step.state == "failed":
            echo(f"  {step.name} failed" + (f": {step.error}" if step.error else ""))
        elif step.state == "pending" and step.error:
            echo(f"  {step.name} waits: {step.error}")


def print_outcome(view: RunView) -> None:
    """Prints the results of a run of this machine: rows, metrics, worst slices, verdict and reasons, paths."""
    summary, rows, lineage = view.summary, view.summary.rows, view.summary.lineage
    if rows.read:
        used = f"{rows.train:,} to train, {rows.eval:,} to evaluate"
        print_fact("rows", f"{rows.read:,} read, {rows.unused}, {used}")
    for warning in read_data_warnings_of(lineage, summary.artifacts)[:SHOWN_WARNINGS]:
        _print_lines("warning", textwrap.wrap(warning, WIDTH, break_on_hyphens=False))
    _print_lines("metrics", textwrap.wrap(format_metrics(summary.metrics), WIDTH))
    if evaluation := read_evaluation_of(lineage, summary.artifacts):
        metric, worst = evaluation.worst_metric, evaluation.worst[:WORST_SLICES]
        values = [f"{one.name} {format_number(one.candidate.get(metric))} (n={one.examples:,})" for one in worst]
        _print_lines("worst", [f"{metric} on {value}" for value in values])
    _print_lines("overrides", [assignments(lineage.overrides)])
    _print_lines("model", [assignments(lineage.hyperparameters)])
    print_verdict(view)
    _print_lines("problem", [view.problem])
    failed = next((step for step in view.steps if step.name == summary.failed_step), None)
    if failed and failed.log:
        print_fact("log", failed.log)
        # An error of ours is complete in itself; any other needs its stack trace.
        trace = (failed.error or "") if '  File "' in (failed.error or "") else ""
        _print_lines("", [f"| {line}" for line in trace.splitlines()])
    _print_lines("pushed", [summary.pushed_path or ""])
    _print_lines("report", [view.report or ""])


def _print_lines(name: str, lines: list[str]) -> None:
    """The lines of one fact, its name before the first; empty ones are left out."""
    for index, line in enumerate(filter(None, lines)):
        print_fact("" if index else name, line)


def print_verdict(view: RunView) -> None:
    """Prints the verdict of a run, or the state of one without, and the reasons."""
    summary, without = view.summary, view.summary.lineage.shows.no_verdict
    if summary.verdict == "pushed":
        print_fact("verdict", f" as version {summary.pushed_version}", state="pushed")
    elif summary.verdict == "refused":
        print_fact("verdict", ": the model was not pushed", state="refused")
    elif summary.told:
        print_fact("verdict", summary.told.text)
    else:
        where = f" at {summary.failed_step or 'an unknown step'}" if view.state == "failed" else ""
        print_fact("verdict", where + (f": {without}" if without else ""), state=view.state)
    _print_lines("", [f"- {reason}" for reason in summary.reasons])


def _row(view: RunView, distinction: str) -> list[str]:
    summary = view.summary
    return [
        view.name,
        view.state,
        summary.verdict if summary.verdict != "none" else "",
        str(summary.pushed_version or ""),
        local_time(summary.lineage.started),
        format_seconds(view.seconds),
        distinction,
        view.problem or ("" if view.state == "succeeded" else next(iter(summary.reasons), "")),
    ]


def _remote_row(run: RemoteRun) -> list[str]:
    return [
        run.name,
        run.state,
        run.labels.get("module", ""),
        run.labels.get("git-revision", "")[:12],
        local_time(run.created),
        format_seconds(run.finished - run.created) if run.finished else "",
        run.title,
    ]
