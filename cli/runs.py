"""`slipway runs`: what ran on this machine, and what came of it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import JsonOption, colour, local_time, print_json, print_table

if TYPE_CHECKING:
    from slipway.runs.store import RunView

app = typer.Typer(help="List and show runs.", no_args_is_help=True)

_SIGNS = {"succeeded": "✓", "failed": "✕", "running": "…", "pending": "·", "skipped": "-"}
WORST_SLICES = 5
WIDTH = 90


@app.command("list")
def list_(as_json: Annotated[bool, JsonOption] = False) -> None:
    """List all runs, newest first."""
    from settings.load import load_settings
    from slipway.pages.numbers import format_seconds
    from slipway.runs.store import list_runs

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
                view.problem or (view.summary.reasons[0] if view.state in ("failed", "interrupted") else ""),
            ]
            for view in views
        ]
        print_table(["run", "state", "verdict", "version", "started", "took", "remark"], rows, numbers=["took"])


@app.command()
def show(
    run: Annotated[str | None, typer.Argument(help="Name of a run, or its beginning; the newest by default.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Show one run: steps, rows, metrics, verdict with its reasons."""
    view = load(run)
    if as_json:
        print_json(view.as_json())
        return
    typer.echo(f"{view.name}: {colour(view.state)}")
    _print_steps(view)
    typer.echo()
    print_outcome(view)


def load(run: str | None) -> RunView:
    """A run of the home that the settings name."""
    from settings.load import load_settings
    from slipway.runs.store import load_run

    return load_run(load_settings().home / "runs", run)


def print_outcome(view: RunView) -> None:
    """What a run came to: rows, metrics, worst slices, verdict with its reasons, where things are."""
    from slipway.pages.numbers import format_number

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
    if view.state == "failed":
        return f"{colour('failed')} at {summary.failed_step or 'an unknown step'}: nothing was pushed"
    return f"{colour(view.state)}: nothing was pushed"


def _print_steps(view: RunView) -> None:
    from slipway.pages.numbers import format_seconds

    for step in view.steps:
        state = "cached" if step.cached and step.state == "succeeded" else step.state
        seconds = format_seconds(step.seconds) if step.seconds is not None else ""
        peak = f"{step.peak_mib:,.0f} MiB" if step.peak_mib else ""
        line = f"  {_SIGNS[step.state]} {step.name:<20} {state:<10} {seconds:>10} {peak:>10}"
        typer.echo(typer.style(line.rstrip(), fg=typer.colors.RED) if step.state == "failed" else line.rstrip())


def _print_worst(view: RunView) -> None:
    from slipway.pages.numbers import format_number
    from slipway.runs.summary import read_evaluation_of

    evaluation = read_evaluation_of(view.summary.artifacts)
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
