"""How runs are printed, for people and for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from cli.output import echo, format_metrics, iso_times, local_time, print_fact, print_state, print_table
from delivery.targets.base import RemoteRun
from slipway.pages.numbers import format_number, format_seconds
from slipway.runs.compare import Comparison
from slipway.runs.store import RunView, assignments, distinctions
from slipway.runs.summary import read_data_warnings_of, read_evaluation_of

WORST_SLICES = 5
MOST_SLICES = 20
SHOWN_WARNINGS = 3
WIDTH = 90


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
    _print_lines("tags", [assignments(view.notes.tags)])
    _print_lines("note", view.notes.note.splitlines())
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


def print_repeated(before: str, changed: Mapping[str, tuple[float | None, float | None]], *, same: bool) -> None:
    """Prints whether a run has the metrics of the one that it repeats."""
    if same:
        print_fact("again", f"the metrics of {before}, to the last digit")
        return
    print_fact("again", f"the metrics are not those of {before}:")
    _print_lines("", [f"- {name} was {old!r}, and is {new!r}" for name, (old, new) in changed.items()])


def run_table(views: list[RunView]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a list of this machine's runs."""
    columns = ["run", "state", "verdict", "version", "started", "took", "differs in", "tags", "remark"]
    return columns, [
        [
            view.name,
            view.state,
            view.summary.verdict if view.summary.told else "",
            str(view.summary.pushed_version or ""),
            local_time(view.summary.lineage.started),
            format_seconds(view.seconds),
            distinction,
            ", ".join(f"{key}={value}" for key, value in view.notes.tags.items()),
            view.problem
            or view.notes.note
            or ("" if view.state == "succeeded" else next(iter(view.summary.reasons), "")),
        ]
        for view, distinction in zip(views, distinctions(views), strict=True)
    ]


def print_comparison(comparison: Comparison) -> None:
    """Prints runs side by side; a mark stands before what differs."""
    for name, rows in comparison.sections.items():
        if not rows:
            continue
        shown = rows
        if name == "slices" and len(rows) > MOST_SLICES:
            shown = sorted(rows, key=lambda row: -row.spread)[:MOST_SLICES]
        cells = [["≠" if row.differs else "", row.name, *row.texts()] for row in shown]
        print_table(["", name, *comparison.runs], cells)
        if len(shown) < len(rows):
            echo(f"   and {len(rows) - len(shown):,} slices that differ less: --json or --page has them")
        echo("")


def remote_table(runs: list[RemoteRun]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a list of a cluster's runs."""
    columns = ["run", "state", "module", "revision", "created", "took", "listed as"]
    return columns, [
        [
            run.name,
            run.state,
            run.labels.get("module", ""),
            run.labels.get("git-revision", "")[:12],
            local_time(run.created),
            format_seconds(run.finished - run.created) if run.finished else "",
            run.title,
        ]
        for run in runs
    ]
