"""`slipway runs`: what ran, here or on a cluster, and what came of it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import JsonOption, colour, local_time, print_json, print_steps, print_table
from cli.targets import EnvOption, RemoteTarget
from cli.targets import TargetOption as RequiredTarget

if TYPE_CHECKING:
    from slipway.runs.store import RunView

app = typer.Typer(help="List and show runs, read their logs, cancel and remove them.", no_args_is_help=True)

TargetOption = Annotated[
    RemoteTarget | None, typer.Option("--target", help="Runs of a cluster, by name or id; of this machine by default.")
]

WORST_SLICES = 5
WIDTH = 90


@app.command("list")
def list_(
    target: TargetOption = None,
    env: EnvOption = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many of a cluster's newest runs.")] = 20,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """List runs, newest first: all of this machine's, or a cluster's newest."""
    if target:
        from cli.remote_runs import list_remote

        list_remote(target, env, limit, as_json=as_json)
        return
    from settings.load import load_settings
    from slipway.pages.numbers import format_seconds
    from slipway.runs.store import distinctions, list_runs

    runs_dir = load_settings().home / "runs"
    views = list_runs(runs_dir)
    if as_json:
        print_json([view.as_json() for view in views])
    elif not views:
        typer.echo(f"There are no runs in {runs_dir}; `slipway run` makes one.")
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
    run: Annotated[str | None, typer.Argument(help="Name of a run, or its beginning; the newest by default.")] = None,
    target: TargetOption = None,
    env: EnvOption = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Show one run: steps, rows, metrics, verdict with its reasons; of a cluster's run state, steps and labels."""
    if target:
        from cli.remote_runs import show_remote

        show_remote(run, target, env, as_json=as_json)
        return
    view = load(run)
    if as_json:
        print_json(view.as_json())
        return
    typer.echo(f"{view.name}: {colour(view.state)}")
    print_steps(view.steps)
    typer.echo()
    print_outcome(view)


@app.command()
def logs(
    run: Annotated[str | None, typer.Argument(help="Name of a run; the newest by default.")] = None,
    step: Annotated[str | None, typer.Option(help="One step, like train_model; all of them by default.")] = None,
    target: TargetOption = None,
    env: EnvOption = None,
) -> None:
    """Print the logs of a run's steps."""
    from pathlib import Path

    from slipway.errors import StoreError

    if target:
        from cli.remote_runs import newest, open_place

        place = open_place(target, env)
        for line in place.logs(run or newest(place), step):
            typer.echo(line)
        return
    view = load(run)
    logged = {one.name: one.log for one in view.steps if one.log and Path(one.log).is_file()}
    if step is not None and step not in logged:
        raise StoreError(f"{view.name} has no log of {step!r}; it has {', '.join(logged) or 'none'}")
    for name, path in logged.items():
        if step in (None, name):
            for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
                typer.echo(line if step else f"{name}: {line}")


@app.command()
def cancel(
    run: Annotated[str, typer.Argument(help="Name or id of a run.")], target: RequiredTarget, env: EnvOption = None
) -> None:
    """Cancel a run on a cluster; one on this machine ends with Ctrl-C."""
    from cli.remote_runs import open_place

    found = open_place(target, env).cancel(run)
    typer.echo(f"{found.name}: asked to end; {colour(found.state)} now\n{found.url}")


@app.command()
def prune(
    keep: Annotated[int | None, typer.Option(min=0, metavar="N", help="Keep the newest N runs of each module.")] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Remove only runs that began more than DAYS days ago.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    env: EnvOption = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Remove old runs of this machine, with their artifacts and cache entries.

    Kept in any case: running runs, runs that pushed versions of the model store, the runs that the next one is compared
    with, and every artifact that a kept run or version names.
    """
    from settings.load import load_settings
    from slipway.runs import prune as pruning
    from slipway.stores.model_store import open_store

    if keep is None and older_than is None:
        raise typer.BadParameter("give --keep N, --older-than DAYS or both", param_hint="--keep")
    home = load_settings(env).home
    work = pruning.find_prunable if dry_run else pruning.prune
    found = work(home, open_store(str(home / "models")), keep or 0, older_than or 0.0)
    if as_json:
        lists = {"runs": found.runs, "artifacts": found.artifacts, "cache": found.cache}
        print_json({"dry_run": dry_run, "bytes": found.size} | {key: list(map(str, lists[key])) for key in lists})
        return
    for run in found.runs:
        typer.echo(f"  {run.name}")
    typer.echo(
        f"{'Would remove' if dry_run else 'Removed'} from {home}: {found.size / 2**20:,.1f} MiB; "
        f"runs: {len(found.runs)}, folders of steps: {len(found.artifacts)}, cache entries: {len(found.cache)}"
    )


def load(run: str | None) -> RunView:
    """A run of the home that the settings name."""
    from settings.load import load_settings
    from slipway.runs.store import load_run

    return load_run(load_settings().home / "runs", run)


def print_outcome(view: RunView) -> None:
    """What a run came to: rows, metrics, worst slices, verdict with its reasons, where things are."""
    from slipway.pages.numbers import format_number
    from slipway.runs.store import assignments

    summary = view.summary
    rows = summary.rows
    if rows.read:
        counts = (
            f"{rows.read:,} read, {rows.quarantined:,} quarantined, {rows.train:,} to train, {rows.eval:,} to evaluate"
        )
        _print_fact("rows", counts)
    if summary.metrics:
        metrics = ", ".join(f"{name} {format_number(value)}" for name, value in summary.metrics.items())
        for index, line in enumerate(textwrap.wrap(metrics, WIDTH)):
            _print_fact("" if index else "metrics", line)
    _print_worst(view)
    if summary.lineage.overrides:
        _print_fact("overrides", assignments(summary.lineage.overrides))
    if summary.lineage.hyperparameters:
        _print_fact("model", assignments(summary.lineage.hyperparameters))
    _print_fact("verdict", _verdict(view))
    for reason in summary.reasons:
        _print_fact("", f"- {reason}")
    if view.problem:
        _print_fact("problem", view.problem)
    failed = next((step for step in view.steps if step.name == summary.failed_step), None)
    if failed and failed.log:
        _print_fact("log", failed.log)
        # One of our errors says it all; of any other people want to see where it came from.
        for line in (failed.error or "").splitlines() if '  File "' in (failed.error or "") else []:
            _print_fact("", f"| {line}")
    if summary.pushed_path:
        _print_fact("pushed", summary.pushed_path)
    if view.report:
        _print_fact("report", view.report)


def _verdict(view: RunView) -> str:
    summary = view.summary
    if summary.verdict == "pushed":
        return f"{colour('pushed')} as version {summary.pushed_version}"
    if summary.verdict == "refused":
        return f"{colour('refused')}: the model was not pushed"
    if summary.told:
        return summary.told.text
    without = f": {summary.lineage.shows.no_verdict}" if summary.lineage.shows.no_verdict else ""
    if view.state == "failed":
        return f"{colour('failed')} at {summary.failed_step or 'an unknown step'}{without}"
    return f"{colour(view.state)}{without}"


def _print_worst(view: RunView) -> None:
    from slipway.pages.numbers import format_number
    from slipway.runs.summary import read_evaluation_of

    evaluation = read_evaluation_of(view.summary.lineage, view.summary.artifacts)
    if evaluation is None or not evaluation.worst:
        return
    name = evaluation.worst_metric
    worst = [
        f"{one.name} {format_number(one.candidate.get(name))} (n={one.examples:,})"
        for one in evaluation.worst[:WORST_SLICES]
    ]
    _print_fact("worst", f"{name} on {worst[0]}")
    for line in worst[1:]:
        _print_fact("", f"{name} on {line}")


def _print_fact(name: str, text: str) -> None:
    typer.echo(f"{typer.style(f'{name:<9}', dim=True)} {text}".rstrip())
