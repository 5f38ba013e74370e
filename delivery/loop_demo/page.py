"""The page that tells the demo's story."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from delivery.loop_demo.story import CRIPPLED, Canary, Kind, Story
from serving.rollout.traffic import Reading
from slipway.evaluation.results import OVERALL
from slipway.monitoring.history import before
from slipway.monitoring.page import TONES, distribution, drift_charts
from slipway.monitoring.result import Score, WindowResult
from slipway.monitoring.scores import difference
from slipway.pages.charts import Series, bar_list, line_chart, overlaid_bars
from slipway.pages.numbers import format_number
from slipway.pages.page import Tone, badge, facts, grid, notice, render_page, section, table, tiles

METRICS = ("auc", "log_loss")
CALLED = ("first version", "second version")
KINDS: dict[Kind, tuple[str, Tone]] = {
    "train": ("trained", "good"), "serve": ("served", "plain"), "window": ("watched", "plain"),
    "canary": ("canary", "good"), "refuse": ("refused", "bad"),
}  # fmt: skip


def story_page(story: Story) -> str:
    """One HTML page, of which nothing is loaded from elsewhere."""
    decided = next(one for one in story.windows if one.verdict == "retrained")
    moved = [one for one in decided.moved if one.decides]
    charts = drift_charts(story.windows)
    assert story.canary
    sections = [
        _summary(story, decided),
        section("Week by week", _timeline(story), note="Each window is a week of requests, watched when it was over."),
        section("Performance", grid(*_metric_charts(story)),
                note="On the requests of each week, once their labels came, with 95 % intervals; week 1 begins on "
                     f"{story.windows[0].start[:10]}. Labels came a week late, those of one request in 19 never."),
        section("Drift", grid(*(charts[one.name] for one in moved)),
                note="Distance of the week's requests from the training rows of the version that served."),
        section(f"What moved until {decided.end[:10]}",
                grid(*(distribution(one, decided, before(story.windows, decided.start)) for one in moved)),
                note="Training rows of the first version beside the requests of the week in which the monitor decided. "
                     f"Decision: {decided.decision.reason if decided.decision else ''}."),
        section("Canary beside stable", *_canary(story, story.canary)),
        section("The bad model", *_refusal(story)),
        section("What happened", facts(
            (f"{one.day:%Y-%m-%d}", Markup("{} {}").format(badge(*KINDS[one.kind]), one.text)) for one in story.events
        )),
    ]  # fmt: skip
    return render_page(
        "The loop: watched, trained again, replaced",
        Markup("").join(sections),
        subtitle="Trips are made up, and a week of them passes in seconds. Pipelines, gate, servers, requests, log and "
        "comparisons are real.",
    )


def _summary(story: Story, decided: WindowResult) -> Markup:
    first, second, bad = story.trainings
    told = [
        f"Version {first.summary.pushed_version} was trained on trips of one year, and served.",
        f"In January fares rose by a quarter and more passengers paid by card. The monitor saw it in two windows "
        f"running, and asked for one training: {decided.decision.reason if decided.decision else ''}.",
        f"Version {second.summary.pushed_version} was trained on newer trips, passed the gate, answered half of a "
        "week's requests as a canary, and was promoted.",
        f"A model that was trained badly on purpose was refused by the gate, and never served: "
        f"{bad.summary.reasons[0]}.",
    ]
    sentences = Markup("").join(map(Markup("<li>{}</li>").format, told))
    asked = sum(one.verdict == "retrained" for one in story.windows)
    numbers = tiles([
        ("weeks watched", len(story.windows), f"from {story.windows[0].start[:10]}"),
        ("requests", format_number(sum(sum(one.versions.values()) for one in story.windows)), "over REST"),
        ("labels", format_number(sum(one.labels for _, one in story.scored)), "a week late"),
        ("trainings", format_number(asked), "that the monitor asked for"),
        ("refused", format_number(1), "model, by the gate"),
    ])  # fmt: skip
    return notice(Markup("<ul>{}</ul>").format(sentences), "good") + numbers


def _versions(story: Story) -> list[int]:
    return [one.summary.pushed_version or 0 for one in story.trainings[:2]]


def _timeline(story: Story) -> Markup:
    """A card for each window, below a band in the colours of the versions that answered."""
    versions = [str(one) for one in _versions(story)]
    item = Markup('<li><span class="band">{}</span><b>{}. {}</b>{}<small>{}</small><small>{}</small></li>')
    part = Markup('<i class="s{}" style="flex:{}" title="{}"></i>')
    items = []
    for number, one in enumerate(story.windows, 1):
        bands = [
            part.format(place, one.versions[name], f"version {name}: {one.versions[name]:,} requests")
            for place, name in enumerate(versions, 1) if name in one.versions
        ]  # fmt: skip
        items.append(
            item.format(
                Markup("").join(bands),
                number,
                one.start[:10],
                badge(one.verdict, TONES[one.verdict]),
                one.decision.reason if one.decision else "",
                ", ".join(
                    f"{CALLED[place]} {one.versions[name]:,}"
                    for place, name in enumerate(versions)
                    if name in one.versions
                ),
            )
        )
    key = Markup("").join(
        Markup('<span><i class="swatch s{}"></i>{} ({})</span>').format(place, CALLED[place - 1], name)
        for place, name in enumerate(versions, 1)
    )
    return Markup('<span class="key">{}</span><ol class="weeks">{}</ol>').format(key, Markup("").join(items))


def _metric_charts(story: Story) -> list[Markup]:
    return [_metric_chart(story, metric) for metric in METRICS]


def _metric_chart(story: Story, metric: str) -> Markup:
    """A line for each version, by the number of the week, and its value in the evaluation."""
    numbers = {one.start: number for number, one in enumerate(story.windows, 1)}
    lines = []
    for name, version in zip(CALLED, _versions(story), strict=True):
        found = [
            (numbers[start], _overall(one.scores, metric)) for start, one in story.scored if one.version == version
        ]
        values = [one.value if one.value is not None else math.nan for _, one in found]
        bounds = [one.interval or (math.nan, math.nan) for _, one in found]
        lines.append(Series(name, [number for number, _ in found], values, bounds=bounds))
    return line_chart(metric.replace("_", " "), lines, x_label="week", marks=True)


def _overall(scores: Sequence[Score], metric: str) -> Score:
    return next(one for one in scores if (one.slice, one.metric) == (OVERALL, metric))


def _canary(story: Story, its: Canary) -> list[Markup]:
    rows = [
        (name, format_number(one.requests), format_number(one.errors), f"{one.quantile(0.5):.2f} ms",
         f"{one.quantile(0.99):.2f} ms")
        for name, one in zip(("stable: " + CALLED[0], "canary: " + CALLED[1]), (its.stable, its.canary), strict=True)
    ]  # fmt: skip
    said = [
        *its.judged.reasons,
        f"golden requests: at most {its.golden:.3g} from the answers in training",
        *_by_labels(story, its),
    ]
    sentences = Markup("").join(map(Markup("<li>{}</li>").format, said))
    return [
        notice(Markup("{}<ul>{}</ul>").format(badge(its.judged.verdict, "good"), sentences), "good"),
        table(("server", "requests", "errors", "median", "p99"), rows),
        grid(overlaid_bars("Latency of answers", ("stable", "canary"), _latencies(its.stable, its.canary))),
    ]


def _latencies(stable: Reading, canary: Reading) -> list[tuple[str, float, float]]:
    """Shares of the answers by the servers' own buckets of time; those that hold none are left out."""
    bounds = [0.0, *stable.bounds]
    rows = []
    for low, high in pairwise(bounds):
        shares = [one.slower(low) - one.slower(high) if low else 1 - one.slower(high) for one in (stable, canary)]
        if max(shares) > 0:
            rows.append((f"up to {high / 1000:.2f} ms", shares[0], shares[1]))
    return rows


def _by_labels(story: Story, its: Canary) -> list[str]:
    """What the labels said later of the same week."""
    scores = {one.version: _overall(one.scores, "auc") for start, one in story.scored if start == its.week.window}
    stable, canary = (scores[version] for version in _versions(story))
    if (found := difference(canary, stable)) is None:
        return []
    low, high = found[1]
    told = "worse" if low > 0 else "better" if high < 0 else "not shown to be different"
    return [
        f"when the labels of this week came, the canary was {told}: auc {format_number(canary.value)} beside "
        f"{format_number(stable.value)} of stable, on requests of its own each (95 % interval of the difference "
        f"{format_number(-high)} to {format_number(-low)})"
    ]


def _refusal(story: Story) -> list[Markup]:
    *_, serves, bad = story.trainings
    reasons = Markup("").join(map(Markup("<li>{}</li>").format, bad.summary.reasons))
    overrides = [
        (name.rpartition(".")[2], str(value))
        for name, value in bad.summary.lineage.overrides.items()
        if name in CRIPPLED
    ]
    versions = {name for one in story.windows for name in one.versions}
    bars = [
        ("a constant model", 0.5), ("the bad model", bad.summary.metrics["auc"] or math.nan),
        (CALLED[1], serves.summary.metrics["auc"] or math.nan),
    ]  # fmt: skip
    return [
        notice(Markup("{}<ul>{}</ul>").format(badge(bad.summary.verdict, "bad"), reasons), "bad"),
        facts([*overrides, ("versions that answered", ", ".join(sorted(versions)))]),
        grid(bar_list("auc in the evaluation", bars)),
    ]
