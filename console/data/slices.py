"""Metrics by slice of one run, or of several beside each other, as TFMA's slicing metrics show them.

Of a binary model, those of `DECIDED` are at the chosen threshold; intervals of the other metrics are the bootstrap's of
the evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from console.data.decisions import CUT, DECIDED, Judged, decided, matrix_at
from console.data.sets import KEPT, UnknownError, find_artifact, read_run
from slipway.evaluation.metric import BEST, EXAMPLE_COUNT, key_metrics
from slipway.evaluation.results import OVERALL, Evaluation, SliceResult, fetch_evaluation
from slipway.evaluation.slice_details import SliceDetail, read_slice_details
from slipway.pages.dots import Dot

if TYPE_CHECKING:
    from multidict import MultiMapping

    from pipelines.registry import Locations

PAGE = 50  # slices
MOST_RUNS = 3  # pictures tell three apart
SORTS = {"worst": "worst first", "best": "best first", "rows": "number of rows", "name": "name"}


@dataclass(frozen=True)
class SlicesView:
    """What an address asks for."""

    runs: tuple[str, ...] = ()
    by: str = ""
    metric: str = ""
    sort: str = "worst"
    min_rows: int = 0
    threshold: float = CUT
    slice: str = OVERALL
    page: int = 1

    @classmethod
    def of(cls, query: MultiMapping[str]) -> SlicesView:
        """The view of a query; ValueError names what is wrong with it."""
        runs = tuple(dict.fromkeys(filter(None, query.getall("run", []))))
        if not 1 <= len(runs) <= MOST_RUNS:
            raise ValueError(f"{len(runs)} runs are chosen: choose 1 to {MOST_RUNS}")
        sort = query.get("sort") or "worst"
        if sort not in SORTS:
            raise ValueError(f"sort = {sort[:100]!r} is not known; choose from {', '.join(SORTS)}")
        return cls(
            runs=runs,
            by=query.get("by", ""),
            metric=query.get("metric", ""),
            sort=sort,
            min_rows=_whole(query, "min_rows", 0),
            threshold=_threshold(query.get("threshold", "")),
            slice=query.get("slice") or OVERALL,
            page=_whole(query, "page", 1),
        )

    def address(self, **changes: object) -> str:
        """The address of this view, or of a changed one; a change of what is shown leads to its first page."""
        changed = replace(self, **({"page": 1} | changes))  # type: ignore[arg-type]
        plain = vars(SlicesView())
        shown = {name: value for name, value in vars(changed).items() if name != "runs" and value != plain[name]}
        return f"/data/slices?{urlencode([*(('run', run) for run in changed.runs), *shown.items()])}"


@dataclass(frozen=True)
class Line:
    """One slice: rows, and the metric of each run."""

    name: str
    rows: int
    dots: tuple[Dot | None, ...]


@dataclass(frozen=True)
class Sliced:
    """Everything that a view shows.

    Attributes:
        judged: The runs.
        metric: The one that is shown.
        metrics: Those that can be chosen.
        columns: What one can slice by.
        overall: The metric of each run on all rows.
        lines: The slices, in order, on all pages.
        hidden: How many have fewer rows than asked for.
        threshold: Of the decision; None where the runs have no counts by threshold.
    """

    judged: list[Judged]
    metric: str
    metrics: list[str]
    columns: list[str]
    overall: Line
    lines: list[Line]
    hidden: int
    threshold: float | None

    @property
    def left_out(self) -> int:
        """Slices that the evaluations checked and do not list."""
        return max(sum(one.slices for one in judged.evaluation.left_out) for judged in self.judged)


def find_slices(state: Locations, view: SlicesView) -> Sliced:
    """Everything that a view shows; UnknownError where it names what is not there, ValueError where it cannot be."""
    judged = [read_judged(state, run) for run in view.runs]
    task = judged[0].evaluation.task
    if len({one.evaluation.task for one in judged}) > 1:
        raise ValueError(
            f"the runs have different tasks, {' and '.join(sorted({one.evaluation.task for one in judged}))}"
        )
    by_threshold = task == "binary" and all(one.details for one in judged)
    metrics = list(dict.fromkeys(name for one in judged for name in one.evaluation.overall.candidate))
    metrics = [name for name in metrics if name != EXAMPLE_COUNT]
    if by_threshold:
        metrics.insert(1 + metrics.index("recall"), "predicted_positive")
    metric = view.metric or judged[0].evaluation.worst_metric or key_metrics(task)[0]
    _check("metric", metric, metrics)
    rows = [{row.name: row for row in one.evaluation.slices} for one in judged]
    columns = list(dict.fromkeys(_by(row) for known in rows for row in known.values()))
    if view.by:
        _check("feature to slice by", view.by, columns)
    names = dict.fromkeys(name for known in rows for name, row in known.items() if view.by in ("", _by(row)))
    _check("slice", view.slice, [OVERALL, *(name for known in rows for name in known)])
    measured = _Measured(judged, metric, view.threshold if by_threshold else None)
    lines = [measured.line(name, [known.get(name) for known in rows]) for name in names]
    large = [line for line in lines if line.rows >= view.min_rows]
    return Sliced(
        judged, metric, metrics, columns, measured.line(OVERALL, [one.evaluation.overall for one in judged]),
        _sorted(large, view.sort, lower_is_worse=_best(judged[0].evaluation, metric) != "low"),
        len(lines) - len(large), view.threshold if by_threshold else None,
    )  # fmt: skip


def read_judged(state: Locations, run: str) -> Judged:
    """The evaluation of a run; UnknownError if it has none."""
    view = read_run(state, run)
    summary = view.summary
    uri = find_artifact(view, summary.lineage.shows.evaluation, "its model was judged")
    return Judged(run, *_fetch(uri, summary.finished), summary.data_digest, summary.pushed_version)


@lru_cache(KEPT)
def _fetch(uri: str, _finished: float) -> tuple[Evaluation, list[float], dict[str, SliceDetail]]:
    details = read_slice_details(uri)
    known = details.slices if details else []
    return fetch_evaluation(uri), details.thresholds if details else [], {one.name: one for one in known}


@dataclass(frozen=True)
class _Measured:
    """A metric of some runs, on any slice; `threshold` decides where it is not None."""

    judged: list[Judged]
    metric: str
    threshold: float | None

    def line(self, name: str, rows: list[SliceResult | None]) -> Line:
        dots = tuple(self._dot(judged, name, row) for judged, row in zip(self.judged, rows, strict=True))
        return Line(name, max(row.examples if row else 0 for row in rows), dots)

    def _dot(self, judged: Judged, name: str, row: SliceResult | None) -> Dot | None:
        if row is None:
            return None
        if self.threshold is not None and self.metric in DECIDED:
            matrix = matrix_at(judged, name, self.threshold)
            return decided(matrix, self.metric, judged) if matrix else None
        detail = judged.details.get(name)
        value = row.candidate.get(self.metric)
        return None if value is None else Dot(value, detail.intervals.get(self.metric) if detail else None)


def _sorted(lines: list[Line], sort: str, *, lower_is_worse: bool) -> list[Line]:
    """Lines in an order; those without a value are last."""
    if sort == "name":
        return sorted(lines, key=lambda line: line.name)
    if sort == "rows":
        return sorted(lines, key=lambda line: -line.rows)
    sign = 1 if (sort == "worst") == lower_is_worse else -1

    def key(line: Line) -> tuple[bool, float]:
        first = next((dot.value for dot in line.dots if dot and math.isfinite(dot.value)), None)
        return first is None, sign * (first or 0.0)

    return sorted(lines, key=key)


def _best(evaluation: Evaluation, metric: str) -> str | None:
    return evaluation.own.get(metric) or BEST.get(metric)


def _by(row: SliceResult) -> str:
    return " x ".join(row.columns)


def _check(what: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise UnknownError(f"there is no {what} {value[:200]!r}; there are {', '.join(known[:20]) or 'none'}")


def _whole(query: Mapping[str, str], name: str, least: int) -> int:
    text = query.get(name) or str(least)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
        raise ValueError(f"{name} = {text[:100]!r} is no whole number from {least}")
    return int(text)


def _threshold(text: str) -> float:
    try:
        value = float(text or CUT)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"threshold = {text[:100]!r} is no number from 0 to 1")
    return value
