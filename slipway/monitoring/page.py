"""The HTML pages of the monitor: one of a window, and one of all windows of a model."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup

from slipway.evaluation.results import OVERALL
from slipway.monitoring.history import describe_window, moved_since
from slipway.monitoring.scores import difference
from slipway.pages.charts import Series, figure, line_chart, overlaid_bars
from slipway.pages.numbers import format_number, format_share
from slipway.pages.page import Tone, badge, details, facts, grid, notice, render_page, section, table, tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.monitoring.columns import Column
    from slipway.monitoring.label_shares import LabelShares
    from slipway.monitoring.result import Performance, WindowResult
    from slipway.monitoring.slices import SliceColumn

CELLS = 12  # of a category
OVER = 30  # windows in the charts of one window's page
TONES: dict[str, Tone] = {
    "stable": "good", "drift": "warn", "traffic": "warn", "worse": "bad", "broken": "bad", "not-enough": "plain",
    "retrained": "warn",
}  # fmt: skip


def window_page(result: WindowResult, windows: Sequence[WindowResult]) -> str:
    """One window; `windows` are those before it, oldest first."""
    moved = result.moved
    names = {one.name for one in moved}
    answers = [one for one in [*result.columns, result.labels] if one and one.role != "input"]
    others = [one for one in result.columns if one.name not in names and one.role == "input"]
    sentences = Markup("").join(map(Markup("<li>{}</li>").format, describe_window(result, windows)))
    tone = TONES[result.verdict]
    sections = [
        notice(Markup("{}<ul>{}</ul>").format(badge(result.verdict, tone), sentences), tone),
        _tiles(result),
        section("What moved", grid(*(distribution(one, result, windows) for one in moved if one.role == "input")))
        if any(one.role == "input" for one in moved) else Markup(""),
        section("Predictions and labels", grid(*(distribution(one, result, windows) for one in answers))) if answers
        else Markup(""),
        *_labels_by(result),
        *_slices(result),
        *_performance(result, windows),
        section("All columns", _columns(result)),
        section("Distributions that did not move", details(
            f"{len(others)} features", grid(*(distribution(one, result, windows) for one in others))
        )) if others else Markup(""),
    ]  # fmt: skip
    return render_page(
        f"{result.model}: the window of {result.start}",
        Markup("").join(sections),
        subtitle=f"Requests of version {result.version} until {result.end}, beside the rows that it was trained on.",
    )


def history_page(windows: Sequence[WindowResult]) -> str:
    """Windows of a model, oldest first: its verdicts, and a small chart of each column and metric."""
    newest = windows[-1]
    link = Markup('<a href="{}/report.html" class="nowrap">{}</a>')
    rows = [
        (link.format(one.start, _short(one.start)), badge(one.verdict, TONES[one.verdict]),
         one.decision.reason if one.decision else "", ", ".join(its.name for its in one.moved[:5]),
         str(one.version), format_number(one.requests))
        for one in reversed(windows)
    ]  # fmt: skip
    headers = ("window", "verdict", "decision", "moved", "version", "requests")
    since = {one.version: one.start for one in reversed(windows)}
    marked = "; ".join(f"version {version} since {start}" for version, start in reversed(since.items()))
    body = [
        section("Windows", table(headers, rows, text_columns=4), note=f"{marked}."),
        section("Performance", grid(*_metric_charts(windows)), note="With 95 % intervals, beside the evaluation's.")
        if any(one.performance for one in windows) else Markup(""),
        section("Traffic", grid(*_traffic_charts(windows))),
        section("Drift", grid(*drift_charts(windows).values()),
                note="The distance of each column from training; the dashed line is what counts as drift."),
    ]  # fmt: skip
    return render_page(
        f"{newest.model}: {len(windows)} windows", Markup("").join(body), subtitle=f"Until {newest.end}."
    )


def _tiles(result: WindowResult) -> Markup:
    moved = [one for one in result.moved if one.role == "input"]
    inputs = [one for one in result.columns if one.role == "input"]
    items = [
        ("requests", format_number(result.requests), f"version {result.version}"),
        ("features that moved", format_number(len(moved)), f"of {len(inputs)}"),
    ]
    if result.traffic:
        share = format_share(result.traffic.error_share)
        items.append(("calls that failed", share, f"of {result.traffic.calls:,}, all versions"))
    if result.performance:
        best = result.performance[0]
        items.append(("labels", format_number(best.labels), f"since {best.since[:10]}"))
        for one in best.scores[:1]:
            evaluated = f"in the evaluation {format_number(one.evaluated)}"
            items.append((one.metric.replace("_", " "), format_number(one.value), evaluated))
    return tiles(items)


def distribution(column: Column, result: WindowResult, windows: Sequence[WindowResult]) -> Markup:
    """A column's two distributions by cell; of a category the cells that are largest on either side."""
    total, trained = max(column.counts.rows, 1), max(column.trained.rows, 1)
    rows = [
        (name, before / trained, now / total)
        for name, before, now in zip(
            column.trained.cells.names, column.trained.counts, column.counts.counts, strict=True
        )
    ]
    rows = [row for row in rows if row[1] or row[2]]
    note = ""
    if column.trained.cells.kind == "category" and len(rows) > CELLS:
        ranked = sorted(rows, key=lambda row: -max(row[1:]))
        rows, rest = ranked[:CELLS], ranked[CELLS:]
        note = f"{len(rest)} more values: {format_share(sum(r[1] for r in rest))} in training, "
        note += f"{format_share(sum(r[2] for r in rest))} now. "
    its = column.baseline
    note += f"Distance {its.distance:.3f}, noise {format_number(its.noise, 2)}, threshold {its.threshold:g}. "
    if its.drifted or column.broken:
        note += f"So since {moved_since(column, result, windows)}. "
    if column.broken:
        note += f"Broken at its source: {column.broken}. "
    if column.outside:
        note += f"Outside the range of training: {column.outside.said}. "
    if column.new_values:
        note += "New: " + ", ".join(f"{value} ({many:,})" for value, many in column.new_values.items())
    return overlaid_bars(column.name, ("training", "now"), rows, note)


def _columns(result: WindowResult) -> Markup:
    rows = [
        (one.name, one.role, _state(one), _number(one.baseline.distance), _number(one.baseline.noise),
         _number(one.previous.distance) if one.previous else "", format_share(one.missing[1]),
         format_share(one.missing[0]), format_share(one.outside.share) if one.outside else "")
        for one in sorted(result.columns, key=lambda one: -one.level)
    ]  # fmt: skip
    headers = ("column", "role", "state", "distance", "noise", "from the window before", "missing in training",
               "missing now", "outside the range of training")  # fmt: skip
    return table(headers, rows, text_columns=3)


def _state(column: Column) -> Markup:
    if column.broken:
        return badge("broken", "bad")
    if not column.baseline.drifted:
        return badge("stable", "good") if math.isfinite(column.baseline.noise) else badge("no rows")
    return badge("drift", "warn") if column.decides else badge("drift, does not decide")


def _number(value: float) -> str:
    return format_number(value, 2)


def _performance(result: WindowResult, windows: Sequence[WindowResult]) -> list[Markup]:
    if not result.performance:
        return []
    parts = [grid(*_metric_charts([*windows[1 - OVER :], result]))]
    parts += [facts([(f"version {one.version}", _counts(one)) for one in result.performance])]
    for one in result.performance:
        rows = [
            (score.slice, score.metric, format_number(score.value), _interval(score.interval),
             format_number(score.evaluated), format_number(score.labels))
            for score in one.scores
        ]  # fmt: skip
        headers = ("where", "metric", "now", "95 % interval", "in the evaluation", "labels")
        overall = [row for row in rows if row[0] == OVERALL]
        parts.append(Markup("<h3>Version {}</h3>").format(one.version) + table(headers, overall, text_columns=2))
        if len(rows) > len(overall):
            slices = table(headers, [row for row in rows if row[0] != OVERALL], text_columns=2)
            parts.append(details("By slice", slices))
    parts += [_beside(one, result.performance[0]) for one in result.performance[1:]]
    return [section("Performance", *parts, note="On the newest requests whose labels have come.")]


def _beside(canary: Performance, stable: Performance) -> Markup:
    """How much worse one version is than another, by each metric overall."""
    theirs = {one.metric: one for one in stable.scores if one.slice == OVERALL}
    rows = [
        (one.metric, format_number(one.value), format_number(theirs[one.metric].value), format_number(found[0]),
         _interval(found[1]))
        for one in canary.scores
        if one.slice == OVERALL and one.metric in theirs and (found := difference(one, theirs[one.metric]))
    ]  # fmt: skip
    headers = ("metric", str(canary.version), str(stable.version), "worse by", "95 % interval")
    title = Markup("<h3>Version {} beside version {}</h3>").format(canary.version, stable.version)
    return title + table(headers, rows, text_columns=1)


def _counts(one: Performance) -> str:
    told = f"{one.labels:,} labels of requests from the window of {one.since} to that of {one.until}"
    more = {
        "without a label yet": one.missing, "asked again": one.repeated, "labels told again": one.duplicates,
        "with contradictory labels": one.contradictory, "answers that are no predictions": one.unusable,
    }  # fmt: skip
    return ", ".join([told, *(f"{number:,} {what}" for what, number in more.items() if number)])


def _interval(bounds: tuple[float, float] | None) -> str:
    return f"{format_number(bounds[0])} to {format_number(bounds[1])}" if bounds else "too few labels"


def _chart(title: str, lines: Sequence[Series], windows: Sequence[WindowResult]) -> Markup:
    """Lines over the windows, with a mark where another version began."""
    names = [_short(one.start)[5:] for one in windows]
    changes = [
        (place - 0.5, f"version {after.version}")
        for place, (before, after) in enumerate(pairwise(windows), 2)
        if before.version != after.version
    ]
    return line_chart(title, lines, marks=True, x_names=names, events=changes)


def _short(start: str) -> str:
    """`2026-03-01`, or `2026-03-01 06:00` for a window that begins within a day."""
    return start.removesuffix("T00:00:00Z").removesuffix(":00Z").replace("T", " ")


def _traffic_charts(windows: Sequence[WindowResult]) -> list[Markup]:
    numbers = range(1, len(windows) + 1)
    charts = [_chart("requests", [Series("requests", numbers, [one.requests for one in windows])], windows)]
    if any(one.traffic for one in windows):
        calls = [one.traffic.calls if one.traffic else math.nan for one in windows]
        shares = [100 * one.traffic.error_share if one.traffic else math.nan for one in windows]
        charts.append(_chart("calls of all versions", [Series("calls", numbers, calls)], windows))
        charts.append(_chart("calls that failed, in %", [Series("failed", numbers, shares)], windows))
    return charts


def drift_charts(windows: Sequence[WindowResult]) -> dict[str, Markup]:
    """A chart of each column that a window has, by its name, those that moved farthest first."""
    levels: dict[str, float] = {}
    for one in windows:
        for column in one.columns:
            levels[column.name] = max(column.level, levels.get(column.name, 0.0))
    charts = {}
    for name in sorted(levels, key=lambda name: -levels[name]):
        found = [next((its for its in one.columns if its.name == name), None) for one in windows]
        bounds = [
            max(its.baseline.threshold, its.baseline.noise) if its and math.isfinite(its.baseline.noise) else math.nan
            for its in found
        ]
        distances = [its.baseline.distance if its and its.baseline.rows[0] else math.nan for its in found]
        numbers = range(1, len(windows) + 1)
        lines = [Series("distance", numbers, distances), Series("counts as drift", numbers, bounds)]
        charts[name] = _chart(name, lines, windows)
    return charts


def _metric_charts(windows: Sequence[WindowResult]) -> list[Markup]:
    """A chart of each metric overall, of the version that was served."""
    scores = [
        {one.metric: one for one in its.performance[0].scores if one.slice == OVERALL}
        if its.performance and its.performance[0].version == its.version else {}
        for its in windows
    ]  # fmt: skip
    names = list(dict.fromkeys(name for one in scores for name in one))
    charts = []
    for name in names:
        found = [(number, one[name]) for number, one in enumerate(scores, 1) if name in one and one[name].interval]
        if not found:
            continue
        numbers = [number for number, _ in found]
        values = [one.value if one.value is not None else math.nan for _, one in found]
        bounds = [one.interval or (math.nan, math.nan) for _, one in found]
        evaluated = [one.evaluated if one.evaluated is not None else math.nan for _, one in found]
        lines = [Series("now", numbers, values, bounds=bounds), Series("in the evaluation", numbers, evaluated)]
        charts.append(_chart(name, lines, windows))
    return charts or [figure("no metric has an interval yet", Markup(""))]


def _slices(result: WindowResult) -> list[Markup]:
    """What moved within slices, as a table; then all that was compared there."""
    compared = [*result.slices, *result.label_slices]
    if not compared and not result.few:
        return []
    headers = ("slice", "column", "distance", "noise", "from the window before", "requests")

    def rows(columns: Sequence[SliceColumn]) -> Markup:
        return table(headers, [
            (one.slice, one.name, _number(one.baseline.distance), _number(one.baseline.noise),
             _number(one.previous.distance) if one.previous else "", format_number(one.rows))
            for one in columns
        ], text_columns=2)  # fmt: skip

    moved = result.moved_slices
    parts = [rows(moved)] if moved else []
    if compared:
        ordered = sorted(compared, key=lambda one: -one.baseline.distance)
        parts.append(details(f"All {len(compared)} columns of slices", rows(ordered)))
    if result.few:
        few = sorted(result.few.items(), key=lambda one: -one[1])
        listed = table(("slice", "requests"), [(name, format_number(rows)) for name, rows in few], text_columns=1)
        parts.append(details(f"{len(few)} slices with too few requests to tell", listed))
    note = "What moved overall moves in slices, too, and is not named again."
    return [section("Within slices", *parts, note=note if moved else "Nothing moved that did not move overall.")]


def _labels_by(result: WindowResult) -> list[Markup]:
    """The share of one label within the cells of each feature; those that moved first, the others folded."""

    def chart(one: LabelShares) -> Markup:
        most = one.farthest[:CELLS]
        rows = [row for row in zip(one.cells, one.trained, one.now, strict=True) if row in most]
        its = one.baseline
        note = f"Distance {its.distance:.3f}, noise {format_number(its.noise, 2)}, threshold {its.threshold:g}."
        return overlaid_bars(f"{label} {one.label} by {one.feature}", ("training", "now"), rows, note)

    label = result.labels.name if result.labels else ""
    moved: list[Markup] = []
    others: list[Markup] = []
    for one in result.labels_by:
        (moved if one.baseline.drifted else others).append(chart(one))
    if not moved and not others:
        return []
    parts = [grid(*moved)] if moved else []
    parts += (
        [details(f"{len(others)} features by which no move of the labels is shown", grid(*others))] if others else []
    )
    note = "The share of a label among rows with the same value. It is told, and decides nothing."
    return [section("Labels by feature", *parts, note=note)]
