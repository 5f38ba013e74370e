"""The page of all models: of each, what serves, what waits, and whether the requests are still those of training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup

from slipway.monitoring.page import TONES, short_start
from slipway.pages.numbers import MISSING, format_number, format_time
from slipway.pages.page import Cell, Tone, badge, details, notice, tiles

if TYPE_CHECKING:
    from console.models.catalog import Model
    from slipway.stores.model_store import Stage, Version

STAGES: dict[Stage, Tone] = {
    "candidate": "plain", "canary": "warn", "stable": "good", "retired": "plain", "quarantined": "bad"
}  # fmt: skip


def models_page(models: Iterable[Model]) -> Markup:
    """All models, a section each."""
    drawn = Markup("").join(
        Markup('<section><h2><a href="/models/{0}">{0}</a></h2>{1}</section>').format(one.name, key_figures(one))
        for one in models
    )
    if drawn:
        return drawn
    return notice(Markup("The model store is empty; <code>slipway run</code> pushes a model when it passes its gate."))


def key_figures(model: Model) -> Markup:
    """The metric of what serves first, then versions, and the newest window."""
    if model.problem:
        return notice(model.problem, "bad")
    serving, newest, move = model.production, model.newest, model.move
    items: list[tuple[str, Cell, Cell]] = [(*main_metric(serving), "where it was evaluated")]
    if serving and move:
        since = Markup("since {} UTC, {} by {}").format(moment(move.when), move.action, move.actor)
        items.append(("serves", version_link(serving), since))
    elif serving:
        items.append(("serves", version_link(serving), "the newest: none was promoted yet"))
    else:
        items.append(("serves", MISSING, "no version may serve"))
    if canary := model.canary:
        items.append(("canary", version_link(canary), _pushed(canary)))
    if newest and newest != serving and newest != canary:
        stage = model.stage(newest.number)
        items.append(("newest", version_link(newest), Markup("{}, {}").format(stage, _pushed(newest))))
    if window := model.window:
        items.append(
            (
                "last window",
                badge(window.verdict, TONES[window.verdict]),
                f"{window.requests:,} requests from {short_start(window.start)}",
            )
        )
    else:
        items.append(("last window", MISSING, "its requests were not watched yet"))
    if barred := [number for number, stage in model.state.stages.items() if stage == "quarantined"]:
        items.append(("quarantined", str(len(barred)), ", ".join(map(str, barred[-3:]))))
    reasons = serving.manifest.reasons if serving else []
    verdict = Markup("").join(Markup("<li>{}</li>").format(one) for one in reasons)
    why = details(f"Why version {serving.number} was pushed", Markup("<ul>{}</ul>").format(verdict)) if serving else ""
    return tiles(items) + (why if reasons else "")


def main_metric(version: Version | None) -> tuple[str, str]:
    """Name and value of the first metric of a version."""
    name, value = next(iter(version.manifest.metrics.items()), ("metric", None)) if version else ("metric", None)
    return name.replace("_", " "), format_number(value)


def version_link(version: Version) -> Markup:
    """The number of a version, which leads to its page."""
    return Markup('<a href="/models/{0}/{1}">{1}</a>').format(version.model, version.number)


def run_link(run: str) -> Markup:
    """The name of a run, which leads to its page."""
    if not run:
        return Markup("{}").format(MISSING)
    return Markup('<a href="/runs/{}">{}</a>').format(quote(run, safe=""), run)


def moment(seconds: float) -> Markup:
    """A time in UTC to the minute, on one line."""
    return Markup('<span class="nowrap">{}</span>').format(format_time(seconds).rpartition(":")[0] or MISSING)


def stage_badge(stage: Stage | None) -> Markup:
    """The stage of a version in its colour."""
    return badge(stage, STAGES[stage]) if stage else badge("deleted")


def _pushed(version: Version) -> Markup:
    return Markup("pushed {} UTC").format(moment(version.manifest.created))
