"""`slipway runs`, `report` and `explain`: runs on this machine or on a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.output import echo, iso_times, print_fact, print_json, print_state, print_steps, print_table
from cli.run_output import (
    print_comparison,
    print_end,
    print_outcome,
    remote_as_json,
    remote_table,
    run_table,
    view_as_json,
)
from cli.run_record import complete, recorded
from delivery.environment import open_environment
from delivery.targets.base import newest_run
from slipway.errors import StoreError
from slipway.runs import compare as comparing
from slipway.runs import prune as pruning
from slipway.runs.explain import explain_run, explain_version
from slipway.runs.notes import parse_tags, write_notes
from slipway.runs.report import write_report
from slipway.runs.store import assignments, list_runs, load_run
from slipway.runs.where import select
from slipway.stores import storage
from slipway.targets import RemoteTarget

app = typer.Typer(no_args_is_help=True)

Run = Annotated[str | None, typer.Argument(help="Name of a run, or its beginning; the newest by default.")]
TargetOrHere = Annotated[
    RemoteTarget | None, typer.Option("--target", help="A cluster; this machine by default.", callback=options.keep)
]
TargetOrState = Annotated[
    RemoteTarget | None,
    typer.Option("--target", help="A cluster; this machine, or remote_home, by default.", callback=options.keep),
]


@app.command("list")
def list_(
    target: TargetOrHere = None,
    env: options.Env = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many of a cluster's newest runs.")] = 20,
    where: Annotated[
        str, typer.Option(help="Only runs of this machine that match, as 'auc > 0.9 and module = taxi'.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """List runs, newest first: all of this machine's, or a cluster's newest.

    Of a cluster's runs, records are made that the exit handler did not make, and those of cancelled runs are corrected.
    """
    environment = open_environment(env)
    if target and where:
        raise typer.BadParameter("a cluster's runs have no metrics; leave out --target", param_hint="--where")
    if target:
        cluster = environment.target(target)
        found = cluster.list(limit)
        complete(environment, cluster, found)
        records, (columns, rows) = [remote_as_json(run) for run in found], remote_table(found)
        nothing = f"There are no runs of Slipway's on {target}; `slipway submit MODULE --target {target}` makes one."
    else:
        there = list_runs(environment.local.runs)
        views = select(there, where) if where else there
        records, (columns, rows) = [view_as_json(view) for view in views], run_table(views)
        nothing = f"There are no runs in {environment.local.runs}; `slipway run` makes one."
        if there:
            nothing = f"None of {len(there)} runs matches."
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
def compare(
    runs: Annotated[list[str], typer.Argument(help="Names of runs, or their beginnings; the first is compared with.")],
    page: Annotated[Path | None, typer.Option(help="Write a page, FILE.html, and print its path.")] = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Compare runs: parameters, data, metrics and slices side by side."""
    environment = open_environment(env)
    views = [recorded(environment, name, None) for name in runs]
    if len({view.uri for view in views}) < max(len(runs), 2):
        raise typer.BadParameter("give at least two runs, each once", param_hint="RUNS")
    found = comparing.compare(views)
    if page:
        storage.write_text(str(page), comparing.comparison_page(views, found))
    if as_json:
        print_json(found.as_json())
    elif page:
        echo(str(page))
    else:
        print_comparison(found)


@app.command()
def tag(
    run: Annotated[str, typer.Argument(help="Name of a run, or its beginning.")],
    tags: Annotated[list[str], typer.Argument(metavar="KEY=VALUE…", help="Tags; KEY= removes one.")],
    env: options.Env = None,
) -> None:
    """Tag a run; `runs list --where 'tags.KEY = VALUE'` finds it."""
    from delivery.tracking import track_notes

    changed, environment = parse_tags(tags), open_environment(env)
    view = recorded(environment, run, None)
    print_fact(view.name, assignments(write_notes(view.uri, tags=changed).tags))
    track_notes(environment, view)


@app.command()
def note(
    run: Annotated[str, typer.Argument(help="Name of a run, or its beginning.")],
    text: Annotated[str, typer.Argument(help="The note, in place of the one before; '' removes it.")],
    env: options.Env = None,
) -> None:
    """Write a note on a run."""
    from delivery.tracking import track_notes

    environment = open_environment(env)
    view = recorded(environment, run, None)
    print_fact(view.name, write_notes(view.uri, note=text).note)
    track_notes(environment, view)


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
    """Remove old runs of this machine, with their artifacts, sources, checkpoints, trials and cache entries.

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
        f"sources, checkpoints and trials: {len(found.inputs)}, cache entries: {len(found.cache)}"
    )


def report(
    run: Run = None, target: TargetOrState = None, env: options.Env = None, as_json: options.Json = False
) -> None:
    """Write a run's report, one HTML page that needs no network, and print its path.

    The report of a run on a cluster is copied to this machine.
    """
    environment = open_environment(env)
    view = recorded(environment, run, target)
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
    what: Annotated[str | None, typer.Argument(metavar="RUN|VERSION|WINDOW", help="The newest run by default.")] = None,
    target: TargetOrState = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Explain why a model was or was not pushed, with thresholds, slices, baseline and digests; or a monitor's window.

    A window is MODULE/START, as in taxi/2026-11-26.
    """
    environment = open_environment(env)
    if what and (window := re.fullmatch(r"([^/]+)/(\d{4}(?:-.*)?)", what)):
        from cli.monitor import print_window

        print_window(environment, *window.groups(), as_json=as_json)
        return
    if what and ("/" in what or what.isdigit()):
        explanation = explain_version(what, environment.state.runs, environment.store())
    else:
        explanation = explain_run(recorded(environment, what, target), environment.store())
    if as_json:
        record = iso_times(explanation.as_json(), "started")
        print_json(record | {"history": [iso_times(event, "when") for event in record["history"]]})
    else:
        echo(explanation.text())
