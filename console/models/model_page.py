"""The page of one model: what serves where, drift and performance over windows, its versions and their history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from console.models.overview import key_figures, main_metric, moment, run_link, stage_badge, version_link
from slipway.lineage import describe_actor
from slipway.monitoring.history import describe_window
from slipway.monitoring.page import TONES, drift_charts, metric_charts, window_table
from slipway.pages.charts import Series, line_chart
from slipway.pages.numbers import MISSING, format_number, format_time
from slipway.pages.page import Cell, badge, details, grid, notice, section, table

if TYPE_CHECKING:
    from console.models.catalog import Model, Served
    from slipway.monitoring.result import WindowResult
    from slipway.stores.model_store import Event

COLUMNS = 6  # with a picture of their drift
SHOWN = 100  # lines of the history
METRICS = 3  # of a version, in its row


def model_page(model: Model, served: Served, windows: Markup, actions: Markup, *, whole: bool = False) -> Markup:
    """The page; `windows` is what `draw_windows` made, `whole` shows the history to its beginning."""
    if model.problem:
        return notice(model.problem, "bad")
    return Markup("").join([
        key_figures(model),
        section("What may be done", actions),
        section("What serves where", _served(model, served)),
        section("Drift and performance", windows),
        section("Versions", _metric_over_versions(model), _versions(model)),
        section("History", _history(model, whole=whole)),
    ])  # fmt: skip


def draw_windows(windows: Sequence[WindowResult]) -> Markup:
    """The newest window in words; metrics and the columns that moved farthest, over the windows."""
    if not windows:
        return notice(Markup("No window of requests was watched yet: <code>slipway monitor run</code> does it."))
    newest, tone = windows[-1], TONES[windows[-1].verdict]
    said = Markup("").join(Markup("<li>{}</li>").format(one) for one in describe_window(newest, windows[:-1]))
    drift = list(drift_charts(windows).values())
    measured = metric_charts(windows) if any(one.performance for one in windows) else []
    return Markup("").join([
        notice(Markup("{}<ul>{}</ul>").format(badge(newest.verdict, tone), said), tone),
        Markup("<h3>Performance, with 95 % intervals</h3>") + _some(measured, METRICS, "metrics") if measured
        else Markup(""),
        Markup("<h3>Drift: distance from training</h3>"),
        _some(drift, COLUMNS, "columns"),
        Markup("<h3>Windows</h3>"),
        window_table(windows, f"/models/{newest.model}/windows/{{}}"),
    ])  # fmt: skip


def _some(charts: Sequence[Markup], most: int, what: str) -> Markup:
    """The first pictures; the others fold."""
    rest = charts[most:]
    return grid(*charts[:most]) + (details(f"{len(rest)} more {what}", grid(*rest)) if rest else "")


def _served(model: Model, served: Served) -> Markup:
    pin = model.production
    rows: list[tuple[Cell, ...]] = [
        ("model store", version_link(pin) if pin else MISSING, "the pin" if model.state.pin else "no pin: the newest")
    ]
    said = Markup("")
    found = served.found or {}
    if served.problem or "stable" in found:
        said, more = _cluster(found) if not served.problem else (notice(served.problem, "warn"), [])
        rows += more or [("serving", MISSING, "not reachable")]
    else:
        versions = found.get("versions") or {}
        rows += [("this machine, 127.0.0.1:8501", number, state.lower()) for number, state in versions.items()]
        if not versions:
            rows.append(("this machine, 127.0.0.1:8501", MISSING, "no version of it"))
    asked = Markup('<p class="note">Asked at {}.</p>').format(format_time(served.asked)) if served.asked else ""
    return table(("where", "version", "state"), rows, text_columns=3) + said + asked


def _cluster(found: dict[str, Any]) -> tuple[Markup, list[tuple[Cell, ...]]]:
    rows: list[tuple[Cell, ...]] = []
    for track in ("stable", "canary"):
        its = found[track]
        ready = f"{its['ready']} of {its['replicas']} ready{', paused' * its['paused']}" if its else "none"
        rows.append((f"{found['namespace']}, {track}", str(its["version"]) if its else MISSING, ready))
    address = f"{found['model']}-serving.{found['namespace']}:8501"
    parts = [Markup("<p>Within the cluster it answers at <code>{}</code>.</p>").format(address)]
    if found["holder"]:
        is_over = "The lease has expired; it was held by" if found["expired"] else "A rollout runs:"
        parts.append(notice(f"{is_over} {found['holder']} since {found['held_since']}"))
    if last := found["rollout"]:
        actor = describe_actor(last["who"], last["says"])
        head = f"Version {last['version']}: {last['phase']} since {format_time(last['updated'])}, by {actor}"
        reasons = Markup("").join(Markup("<li>{}</li>").format(one) for one in last["reasons"])
        parts.append(Markup("<p>{}</p><ul>{}</ul>").format(head, reasons))
    return Markup("").join(parts), rows


def _metric_over_versions(model: Model) -> Markup:
    """The main metric of all versions, where there are several."""
    versions = list(model.versions.values())
    if len(versions) < 2:
        return Markup("")
    name = next(iter(versions[-1].manifest.metrics), "")
    found = [one.manifest.metrics.get(name) for one in versions]
    values = [math.nan if value is None else value for value in found]
    if not any(map(math.isfinite, values)):
        return Markup("")
    lines = [Series(name, range(1, len(values) + 1), values)]
    stages = {number: stage for number, stage in model.state.stages.items() if stage in ("stable", "canary")}
    marks = [(place, stages[one.number]) for place, one in enumerate(versions, 1) if one.number in stages]
    title = f"{main_metric(versions[-1])[0]} by version"
    names = [str(one.number) for one in versions]
    return grid(line_chart(title, lines, marks=len(values) < 50, x_names=names, events=marks))


def _versions(model: Model) -> Markup:
    names = list(dict.fromkeys(
        name for one in reversed(model.versions.values()) for name in list(one.manifest.metrics)[:METRICS]
    ))[:METRICS]  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (version_link(one), stage_badge(model.stage(one.number)),
         *(format_number(one.manifest.metrics.get(name)) for name in names),
         moment(one.manifest.created), one.manifest.pushed_by, run_link(one.manifest.lineage.run))
        for one in reversed(model.versions.values())
    ]  # fmt: skip
    headers = ("version", "stage", *names, "pushed, UTC", "by", "run")
    return table(headers, rows, text_columns=len(headers))


def _history(model: Model, *, whole: bool) -> Markup:
    events = model.state.history[::-1]
    shown = events if whole else events[:SHOWN]
    more = Markup("")
    if len(shown) < len(events):
        more = Markup('<p><a href="?history=whole#history">All {} lines</a></p>').format(len(events))
    return history_table(model, shown) + more


def history_table(model: Model, events: Sequence[Event]) -> Markup:
    """Lines of a model's history, as they are given."""
    rows: list[tuple[Cell, ...]] = [
        (one.action, version_link(model.versions[one.version]) if one.version in model.versions else str(one.version),
         str(one.previous or ""), one.why, one.actor, moment(one.when), run_link(one.run))
        for one in events
    ]  # fmt: skip
    return table(("action", "version", "before", "why", "who", "when, UTC", "run"), rows, text_columns=7)
