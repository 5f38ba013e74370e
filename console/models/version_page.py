"""The page of one version: why it was pushed, where it came from, what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from console.layout import place
from console.models.model_page import history_table
from console.models.overview import run_link, stage_badge, version_link
from slipway.pages.numbers import MISSING, format_number, format_time
from slipway.pages.page import Cell, code, details, facts, log, notice, section, table, tiles
from slipway.runs.store import assignments

if TYPE_CHECKING:
    from console.models.catalog import Model
    from slipway.runs.explain import Explanation
    from slipway.stores.model_store import Version

KEY_METRICS = 4


def version_page(
    model: Model, version: Version, explanation: Explanation, actions: Markup, commands: Sequence[str]
) -> Markup:
    """The page; `commands` do in a shell what the page shows or offers."""
    events = model.events(version.number)
    return Markup("").join([
        _figures(model, version),
        *_quarantine(model, version),
        section("What may be done", actions),
        *_verdict(explanation),
        section("Where it comes from", _lineage(model, version)),
        section("Files", _files(version)),
        section("History", history_table(model, events)),
        section("The same in a shell", log("\n".join(commands))),
    ])  # fmt: skip


def _figures(model: Model, version: Version) -> Markup:
    metrics = list(version.manifest.metrics.items())[:KEY_METRICS]
    items: list[tuple[str, Cell, Cell]] = [
        (name.replace("_", " "), format_number(value), "where it was evaluated") for name, value in metrics
    ]
    is_serving = model.production == version
    items.append(("stage", stage_badge(model.stage(version.number)), "in production" if is_serving else ""))
    by = f"by {version.manifest.pushed_by}" if version.manifest.pushed_by else ""
    items.append(("pushed", format_time(version.manifest.created)[:10], by))
    return tiles(items)


def _quarantine(model: Model, version: Version) -> list[Markup]:
    """Who withdrew the version, and why; it may have been another one with the same bytes."""
    digest = version.manifest.model_digest
    same = {one.version for one in model.state.history if one.model_digest == digest}
    barred = {number for number in same if model.stage(number) == "quarantined"}
    for event in reversed(model.state.history):
        number = {"quarantine": event.version, "rollback": event.previous}.get(event.action)
        if number in barred:
            which = "" if number == version.number else f" as version {number}, which has the same bytes"
            told = f"Quarantined{which} by {event.actor}, {format_time(event.when)}: {event.why}"
            return [notice(told, "bad")]
    return []


def _verdict(explanation: Explanation) -> list[Markup]:
    """The verdict in words, and every check of the gate while the evaluation is there."""
    parts = {title: items for title, items in explanation.parts() if items}
    drawn: list[Markup] = []
    if explanation.evaluation is not None:
        from slipway.evaluation.page import evaluation_sections

        drawn = evaluation_sections(explanation.evaluation)[:2]
        parts.pop("What was checked", None)
        parts.pop("Why", None)
    lists = [Markup("<p>{}</p>").format(explanation.headline())]
    for title, items in parts.items():
        if title != "What became of it":  # the history, below
            entries = Markup("").join(Markup("<li>{}</li>").format(item) for item in items)
            lists.append(Markup("<h3>{}</h3><ul>{}</ul>").format(title, entries))
    return [section("In words", *lists), *drawn]


def _lineage(model: Model, version: Version) -> Markup:
    manifest, lineage = version.manifest, version.manifest.lineage
    baseline = model.versions.get(manifest.baseline_version or 0)
    items: list[tuple[str, Cell]] = [
        ("run", run_link(lineage.run)),
        ("pipeline", f"{lineage.pipeline} on {lineage.target}"),
        ("data", code(lineage.data_uri)),
        ("data digest", code(manifest.data_digest or MISSING)),
        ("schema digest", code(manifest.schema_digest or MISSING)),
        ("module", code(f"{lineage.module} {lineage.module_digest}")),
        ("git revision", code(lineage.git_revision)),
        ("image", code(lineage.image or MISSING)),
        *([("GPU image", code(lineage.gpu_image))] if lineage.gpu_image else []),
        ("hyperparameters", assignments(lineage.hyperparameters) or MISSING),
        ("overrides", assignments(lineage.overrides) or MISSING),
        ("seed", str(lineage.seed)),
        ("compared with", version_link(baseline) if baseline else str(manifest.baseline_version or "no version")),
        *((f"artifact {name}", code(uri)) for name, uri in manifest.artifacts.items()),
    ]
    return facts(items)


def _files(version: Version) -> Markup:
    files = version.manifest.files
    rows = [(code(one.path), code(one.sha256), format_number(one.size)) for one in files]
    listed = table(("file", "SHA-256", "bytes"), rows, text_columns=2)
    places: list[tuple[str, Cell]] = [
        ("path", code(place(version.uri))),
        ("model digest", code(version.manifest.model_digest)),
    ]
    size = sum(one.size for one in files)
    return facts(places) + details(f"{len(files)} files, {size:,} bytes", listed)
