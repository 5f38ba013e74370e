"""Runs side by side: parameters, data, metrics and slices, as text, JSON and a page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from slipway.evaluation.results import Curves
from slipway.pages.charts import Series, line_chart
from slipway.pages.numbers import MISSING, format_number, format_seconds, format_time
from slipway.pages.page import grid, render_page, section, table
from slipway.runs.store import RunView
from slipway.runs.summary import read_evaluation_of, read_if_there, readable_folder
from slipway.runs.training_log import History, read_history

CHART_LINES = 3  # of a chart
PAGE_ORDER = ("metrics", "parameters", "data", "slices", "run")  # a phone shows the beginning
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b")


@dataclass(frozen=True)
class Row:
    """One line: a value for each run, None where a run has none; what is `measured` has differences."""

    name: str
    values: list[Any]
    measured: bool

    @property
    def differs(self) -> bool:
        """Whether the runs are not all alike in it."""
        return any(value != self.values[0] for value in self.values[1:])

    @property
    def spread(self) -> float:
        """How far its numbers are apart."""
        numbers = [value for value in self.values if value is not None] if self.measured else []
        return max(numbers) - min(numbers) if numbers else 0.0

    def texts(self) -> list[str]:
        """The values for people, digests shortened; what was measured with its difference from the first run's."""
        first = self.values[0]
        if not self.measured:
            return [_text(value) for value in self.values]
        shown = [format_number(value) for value in self.values]
        if first is None:
            return shown
        return [
            f"{text} ({'+' if value > first else ''}{format_number(value - first, 2)})"
            if value is not None and value != first
            else text
            for text, value in zip(shown, self.values, strict=True)
        ]


@dataclass(frozen=True)
class Comparison:
    """Sections of rows, in order."""

    runs: list[str]
    sections: dict[str, list[Row]]

    def as_json(self) -> dict[str, Any]:
        """By section, row and run."""
        shown = {
            name: {row.name: dict(zip(self.runs, row.values, strict=True)) for row in rows}
            for name, rows in self.sections.items()
        }
        return {"runs": self.runs, **shown}


def compare(views: Sequence[RunView]) -> Comparison:
    """Compares runs with the first; reads what they left, and does without what is missing."""
    sections = {
        "run": _rows(_about(view) for view in views),
        "data": _rows(_data(view) for view in views),
        "parameters": _rows(_parameters(view) for view in views),
        "metrics": _rows((view.summary.metrics for view in views), measured=True),
        "slices": _rows((dict(_slices(view)) for view in views), measured=True),
    }
    return Comparison([view.name for view in views], sections)


def comparison_page(views: Sequence[RunView], comparison: Comparison) -> str:
    """The comparison as one self-contained page; what differs is bold."""
    return render_page(f"{len(views)} runs compared", comparison_body(views, comparison))


def comparison_body(views: Sequence[RunView], comparison: Comparison, heads: Sequence[Markup] = ()) -> Markup:
    """The sections of the comparison; `heads` are the runs' names as they stand over the columns."""
    parts = [
        section(name.capitalize(), table(("", *(heads or comparison.runs)), map(_cells, rows), text_columns=1))
        for name in PAGE_ORDER
        if (rows := comparison.sections[name])
    ]
    return Markup("").join([*parts, _curves(views), _training(views)])


def _cells(row: Row) -> list[str | Markup]:
    bold = Markup("<b>{}</b>") if row.differs else Markup("{}")
    return [row.name, *(bold.format(text) for text in row.texts())]


def _curves(views: Sequence[RunView]) -> Markup:
    """ROC, precision against recall and calibration of each model over each other."""
    rocs, traced, calibrated = [], [], []
    for view in views[:CHART_LINES]:
        evaluation = read_evaluation_of(view.summary.lineage, view.summary.artifacts)
        curves = evaluation.curves if evaluation else Curves()
        if curves.roc:
            rocs.append(Series(view.name, curves.roc.false_positive_rate, curves.roc.true_positive_rate))
        if curves.precision_recall:
            traced.append(Series(view.name, curves.precision_recall.recall, curves.precision_recall.precision))
        if curves.calibration and evaluation and evaluation.task == "binary":
            means = [(one.mean_prediction, one.mean_label) for one in curves.calibration]
            calibrated.append(Series(view.name, [x for x, _ in means], [y for _, y in means]))
    square = partial(line_chart, x_range=(0, 1), y_range=(0, 1))
    figures = [
        square("ROC curve", rocs, x_label="false positive rate", y_label="true positive rate", diagonal=True),
        square("Precision and recall", traced, x_label="recall", y_label="precision"),
        square("Calibration", calibrated, x_label="mean prediction", y_label="mean label", diagonal=True, marks=True),
    ]
    figures = [drawn for drawn, lines in zip(figures, (rocs, traced, calibrated), strict=True) if lines]
    return section("Curves", grid(*figures), note=_left_out(views)) if figures else Markup("")


def _training(views: Sequence[RunView]) -> Markup:
    """Loss and metrics on the rows that were held back, by epoch."""
    lines: dict[str, list[Series]] = {}
    for view in views[:CHART_LINES]:
        uri = view.summary.artifacts.get(view.summary.lineage.shows.training_log)
        history = read_if_there(partial(_read_history, uri)) if uri else None
        for name, values in _held_back(history).items() if history else ():
            epochs = [one.epoch for one in history.epochs] if history else []
            lines.setdefault(name, []).append(Series(view.name, epochs, values))
    if not lines:
        return Markup("")
    figures = [line_chart(f"{name} on held back rows", its, x_label="epoch", marks=True) for name, its in lines.items()]
    return section("Training", grid(*figures), note=_left_out(views))


def _held_back(history: History) -> dict[str, list[float]]:
    """Loss and metrics by name, a value for each epoch."""
    names = dict.fromkeys(name for one in history.epochs for name in one.metrics if name.startswith("val_"))
    values = {"Loss": [one.val_loss for one in history.epochs]}
    named = {name.removeprefix("val_"): [one.metrics.get(name, math.nan) for one in history.epochs] for name in names}
    return (values if history.epochs else {}) | named


def _left_out(views: Sequence[RunView]) -> str:
    many = len(views) - CHART_LINES
    return f"The first {CHART_LINES} runs; {many} more would hide each other." if many > 0 else ""


def _read_history(uri: str) -> History:
    return read_history(readable_folder(uri))


def _rows(columns: Iterable[Mapping[str, Any]], *, measured: bool = False) -> list[Row]:
    """One row for each name that a run has, in the order of first sight."""
    known = list(columns)
    names = dict.fromkeys(name for column in known for name in column)
    return [Row(name, [column.get(name) for column in known], measured) for name in names]


def _about(view: RunView) -> dict[str, Any]:
    summary, lineage, notes = view.summary, view.summary.lineage, view.notes
    return {
        "state": view.state,
        "verdict": summary.verdict,
        "version": str(summary.pushed_version) if summary.pushed_version else None,
        "pipeline": lineage.pipeline,
        "module": lineage.module,
        "module digest": lineage.module_digest or None,
        "revision": lineage.git_revision,
        "image": lineage.image or None,
        **({"GPU image": lineage.gpu_image} if lineage.gpu_image else {}),
        "target": lineage.target,
        "started": format_time(lineage.started) if lineage.started else None,
        "took": format_seconds(view.seconds) if view.seconds is not None else None,
        **{f"tag {key}": value for key, value in notes.tags.items()},
        **({"note": notes.note} if notes.note else {}),
    }


def _data(view: RunView) -> dict[str, Any]:
    rows = view.summary.rows
    counts = {f"rows {name}": count for name, count in rows.model_dump().items()} if rows.read else {}
    return {"data": view.summary.lineage.data_uri, "digest": view.summary.data_digest or None, **counts}


def _parameters(view: RunView) -> dict[str, Any]:
    lineage = view.summary.lineage
    given = {f"hyperparameters.{name}": value for name, value in lineage.hyperparameters.items()}
    return {"seed": lineage.seed, **given, **lineage.overrides}


def _slices(view: RunView) -> Iterator[tuple[str, float | None]]:
    """The metric that the evaluation sorts slices by, on each of them."""
    evaluation = read_evaluation_of(view.summary.lineage, view.summary.artifacts)
    if evaluation:
        metric = evaluation.worst_metric
        yield from ((f"{metric} on {one.name}", one.candidate.get(metric)) for one in evaluation.slices)


def _text(value: Any) -> str:
    if value is None:
        return MISSING
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _DIGEST.sub(r"\1", text)
