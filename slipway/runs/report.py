"""A run as one self-contained page: steps, verdict, artifacts and lineage."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup

from slipway.data.examples.dataset import QUARANTINE
from slipway.data.validation.report import read_validation
from slipway.errors import SlipwayError
from slipway.evaluation.metric import key_metrics
from slipway.evaluation.results import Evaluation
from slipway.evaluation.serving_checks import read_validation as read_serving_checks
from slipway.pages.charts import Series, bar, line_chart
from slipway.pages.numbers import MISSING, format_number, format_seconds
from slipway.pages.page import badge, code, details, facts, grid, log, notice, render_page, section, table, tiles
from slipway.runs.record import Step
from slipway.runs.store import REPORT, RunView, lineage_facts
from slipway.runs.summary import read_evaluation_of, readable_folder
from slipway.runs.training_log import read_history
from slipway.stores import storage

ROW, LANE = 34, 18
_SIGNS = {"succeeded": "✓", "failed": "✕", "running": "…", "pending": "·", "skipped": "–", "unknown": "?"}  # noqa: RUF001


def write_report(view: RunView) -> str:
    """Writes the run's page beside its record; returns where it is."""
    uri = storage.join(view.uri, REPORT)
    storage.write_text(uri, render_report(view))
    return uri


class Links:
    """Where a report leads to: files, seen from the page that lies beside a run's record."""

    def log(self, step: Step) -> str:
        """Address of a step's log."""
        return f"logs/{step.name}.log"

    def quarantine(self, examples: str) -> str:
        """Address of the rows of the examples that could not be read."""
        uri = storage.join(examples, QUARANTINE)
        return uri if storage.is_remote(uri) else Path(uri).as_uri()

    def artifact(self, name: str, uri: str) -> Markup:
        """What is said of where an artifact is."""
        return code(uri)

    def page(self, name: str, path: str) -> Markup:
        """A step's own page, in a frame as Kubeflow's UI has it: scripts run, and reach nothing of the report."""
        frame = Markup('<iframe sandbox="allow-scripts" srcdoc="{}"></iframe>')
        return frame.format(Path(path).read_text(encoding="utf-8"))


BESIDE = Links()


def render_report(view: RunView) -> str:
    """The page as HTML, without the parts that the run did not reach; damaged parts are named."""
    return render_page(view.name, report_body(view), subtitle=report_subtitle(view))


def report_subtitle(view: RunView) -> str:
    """Whose run it was, when, where, and how long it took."""
    lineage = view.summary.lineage
    started = time.strftime("%-d %B %Y, %H:%M UTC", time.gmtime(lineage.started)) if lineage.started else ""
    return " · ".join(filter(None, [lineage.module, started, f"on {lineage.target}", format_seconds(view.seconds)]))


def report_body(view: RunView, links: Links = BESIDE) -> Markup:
    """The sections of the report."""
    artifacts, shows = view.summary.artifacts, view.summary.lineage.shows
    evaluation = read_evaluation_of(view.summary.lineage, artifacts)
    judged: list[Markup] = []
    if evaluation is not None:
        from slipway.evaluation.page import evaluation_sections

        judged = evaluation_sections(evaluation)
    lineage = view.summary.lineage
    start = lineage.started or min((step.started for step in view.steps if step.started), default=0.0)
    outputs = {f"{step.name}.{name}": uri for step in view.steps for name, uri in step.outputs.items()}
    parts = [
        _headline(view, evaluation),
        _key_figures(view, evaluation),
        *judged[:1],  # the verdict stands before the steps
        section("Steps", step_graph(view.steps, start, links)) if view.steps else Markup(""),
        *judged[1:],
        _part("Serving checks", artifacts.get(shows.serving_checks), _serving),
        _part("Training", artifacts.get(shows.training_log), _training),
        _part(
            "Validation of the data",
            artifacts.get(shows.data_validation),
            lambda folder: _validation(folder) + _quarantined(view, links),
        ),
        _part("Data", artifacts.get(shows.statistics), _statistics),
        *(_part(title, outputs.get(name), partial(links.page, name)) for title, name in shows.pages.items()),
        _lineage(view, links),
    ]
    return Markup("").join(parts)


def _headline(view: RunView, evaluation: Evaluation | None) -> Markup:
    """The verdict or how the run ended, with its reasons unless the evaluation lists them below."""
    summary, told = view.summary, view.summary.told
    ends = {
        "failed": f"failed at {(summary.failed_step or 'an unknown step').replace('_', ' ')}",
        "unknown": "ended in an unknown state",
        "succeeded": "finished",
    }
    ended_badly = view.state not in ("running", "succeeded")
    ended = badge(ends.get(view.state, view.state), "bad" if ended_badly else "plain")
    body = Markup("<p>{}</p>").format(badge(told.text, told.tone) if told else ended)
    good = told is not None and told.tone == "good"
    if summary.reasons and (evaluation is None or (evaluation.verdict.blessed and not good)):
        reasons = Markup("").join(Markup("<li>{}</li>").format(reason) for reason in summary.reasons)
        body += notice(Markup("<ul>{}</ul>").format(reasons), "bad" if ended_badly else "plain" if good else "warn")
    if view.problem:
        body += notice(view.problem, "warn")
    if summary.error and len(summary.error.splitlines()) > len(summary.reasons):
        body += details("The last lines of the step's log", log(summary.error))
    return body


def _key_figures(view: RunView, evaluation: Evaluation | None) -> Markup:
    summary = view.summary
    items: list[tuple[str, str, str]] = []
    if evaluation is not None:
        before = evaluation.overall.baseline or {}
        for name in (*key_metrics(evaluation.task), *evaluation.own):
            if name in summary.metrics:
                remark = f"production {format_number(before[name])}" if name in before else ""
                items.append((name.replace("_", " "), format_number(summary.metrics[name]), remark))
    if summary.rows.read:
        items.append(("rows", f"{summary.rows.read:,}", summary.rows.unused))
    cached = sum(step.cached and step.state == "succeeded" for step in view.steps)
    remark = f"{cached} of {len(view.steps)} steps cached" if view.steps else ""
    items.append(("time", format_seconds(view.seconds), remark))
    return tiles(items)


def _part(title: str, uri: str | None, draw: Callable[[str], Markup]) -> Markup:
    """One section made of an artifact; nothing if the run has no such artifact."""
    if uri is None:
        return Markup("")
    try:
        return section(title, draw(str(readable_folder(uri))))
    except (SlipwayError, OSError, ValueError) as error:
        return section(title, notice(f"This part cannot be shown: {error}", "warn"))


def _serving(folder: str) -> Markup:
    marks = {True: badge("passed", "good"), False: badge("failed", "bad")}
    rows = [(check.name, marks[check.passed], check.detail) for check in read_serving_checks(folder).checks]
    return table(("check", "outcome", "what was found"), rows, text_columns=3)


def _training(folder: str) -> Markup:
    """Loss and each metric by epoch, in training and on the rows that were held back."""
    history = read_history(folder)
    epochs = [epoch.epoch for epoch in history.epochs]
    logged = [{"Loss": one.loss, "val_Loss": one.val_loss, **one.metrics} for one in history.epochs]
    figures = []
    for name in logged[-1] if logged else {}:
        if not name.startswith("val_"):
            lines = [
                Series(title, epochs, [one.get(key, math.nan) for one in logged])
                for title, key in (("training", name), ("held back", f"val_{name}"))
            ]
            figures.append(line_chart(name, lines, x_label="epoch", marks=True))
    stopped = {"early_stopping": "stopped early", "epochs": "all epochs done", "running": "not finished"}
    resumed = history.resumed_after_epoch
    items = [
        ("epochs", str(len(epochs)), stopped[history.stopped]),
        ("best epoch", str(history.best_epoch), "its weights were kept"),
        ("parameters", f"{history.parameters:,}", ""),
        ("rows", f"{history.train_rows:,}", f"{history.validation_rows:,} held back"),
        ("training", format_seconds(history.seconds), f"resumed after epoch {resumed}" if resumed else ""),
    ]
    return tiles(items) + grid(*figures)


def _validation(folder: str) -> Markup:
    from slipway.data.validation.page import validation_parts

    return Markup("").join(validation_parts(read_validation(folder)))


def _quarantined(view: RunView, links: Links) -> Markup:
    """A link to the rows that could not be read."""
    lineage, rows = view.summary.lineage, view.summary.rows
    if not rows.quarantined or lineage.shows.examples not in view.summary.artifacts:
        return Markup("")
    address = links.quarantine(view.summary.artifacts[lineage.shows.examples])
    return Markup(
        '<p><a href="{}" target="_blank" rel="noopener">All {:,} rows that could not be read</a>, and why.</p>'
    ).format(address, rows.quarantined)


def _statistics(folder: str) -> Markup:
    from slipway.data.statistics.io import read_statistics
    from slipway.data.statistics.page import statistics_figures, statistics_tables

    statistics = read_statistics(folder)
    return statistics_tables(statistics) + details("A picture of each column", statistics_figures(statistics))


def _lineage(view: RunView, links: Links) -> Markup:
    summary = view.summary
    items = [*lineage_facts(summary), ("pushed version", str(summary.pushed_version or "none"))]
    items.append(("pushed path", summary.pushed_path or MISSING))
    lineage = facts([(name, code(value)) for name, value in items])
    artifacts = facts([(name, links.artifact(name, uri)) for name, uri in sorted(summary.artifacts.items())])
    return section("Lineage", lineage, details("Where the artifacts are", artifacts))


def step_graph(steps: Sequence[Step], run_started: float, links: Links = BESIDE) -> Markup:
    """The graph of steps with states and times; each step comes after those it needs."""
    lanes, edges = _lay_out(steps)
    width = LANE * (max([*lanes, *(lane for _, _, lane in edges)], default=0) + 1)
    height = ROW * len(steps)
    drawn = Markup("").join(Markup('<path d="{}"/>').format(_edge(lanes, *edge)) for edge in edges)
    dots = Markup("").join(
        Markup('<circle class="{}" cx="{}" cy="{}" r="5"/>').format(_kind(step), *_place(lanes[row], row))
        for row, step in enumerate(steps)
    )
    gutter = Markup(
        '<svg aria-hidden="true" width="{0}" height="{1}" viewBox="0 0 {0} {1}"><g class="edges">{2}</g>{3}</svg>'
    ).format(width, height, drawn, dots)
    ends = [step.started + (step.seconds or 0) - run_started for step in steps if step.started is not None]
    rows = Markup("").join(_row(step, run_started, max(ends, default=0) or 1, links) for step in steps)
    return Markup('<div class="steps">{}<ol>{}</ol></div>').format(gutter, rows)


def _row(step: Step, run_started: float, run_seconds: float, links: Links) -> Markup:
    drawn = Markup("<span></span>")
    if step.started is not None:
        since = 100 * max(step.started - run_started, 0) / run_seconds
        drawn = bar(since, 100 * (step.seconds or 0) / run_seconds, _kind(step))
    time = "cached" if _kind(step) == "cached" else format_seconds(step.seconds)
    if step.state in ("pending", "skipped", "running"):
        time = step.state
    name: str | Markup = step.name.replace("_", " ").capitalize()
    if step.log:  # of a local run
        name = Markup('<a href="{}" target="_blank" rel="noopener">{}</a>').format(links.log(step), name)
    return Markup(
        '<li><span class="name">{}<b class="{}" title="{}">{}</b></span>{}<span class="value">{}</span></li>'
    ).format(name, _kind(step), step.state, _SIGNS[step.state], drawn, time)


def _kind(step: Step) -> str:
    return "cached" if step.cached and step.state == "succeeded" else step.state


def _direct_needs(steps: Sequence[Step]) -> list[set[int]]:
    """The rows that each row needs directly (the transitive reduction)."""
    rows = {step.name: row for row, step in enumerate(steps)}
    above: list[set[int]] = []
    direct: list[set[int]] = []
    for row, step in enumerate(steps):
        needs = {rows[name] for name in step.needs if rows.get(name, row) < row}
        implied: set[int] = set().union(*(above[need] for need in needs))
        direct.append(needs - implied)
        above.append(needs | implied)
    return direct


def _lay_out(steps: Sequence[Step]) -> tuple[list[int], list[tuple[int, int, int]]]:
    """A lane for each row, and edges as (upper row, lower row, lane in between); no edge crosses a dot."""
    lanes: list[int] = []
    edges: list[tuple[int, int, int]] = []
    taken: set[tuple[int, int]] = set()
    all_lanes = list(range(len(steps)))

    def first_free(preferred: list[int], rows: range) -> int:
        return next(lane for lane in preferred + all_lanes if all((row, lane) not in taken for row in rows))

    for row, needs in enumerate(_direct_needs(steps)):
        lane = first_free(sorted(lanes[need] for need in needs), range(max(needs, default=row - 1) + 1, row + 1))
        for need in sorted(needs):
            between = range(need + 1, row)
            via = first_free([lanes[need], lane], between)
            edges.append((need, row, via))
            taken.update((passed, via) for passed in between)
        lanes.append(lane)
        taken.add((row, lane))
    return lanes, edges


def _edge(lanes: Sequence[int], upper: int, lower: int, via: int) -> str:
    between = [] if lower == upper + 1 else [_place(via, upper + 1), _place(via, lower - 1)]
    points = [_place(lanes[upper], upper), *between, _place(lanes[lower], lower)]
    path = "M{} {}".format(*points[0])
    for (x, y), (next_x, next_y) in pairwise(points):
        middle = (y + next_y) / 2
        path += f"C{x} {middle} {next_x} {middle} {next_x} {next_y}"  # straight, if it stays in its lane
    return path


def _place(lane: int, row: int) -> tuple[float, float]:
    return lane * LANE + LANE / 2, row * ROW + ROW / 2
