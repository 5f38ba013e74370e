"""The page of slices: the metric of all rows, what decides, a picture of the slices, a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from console.data.decisions import DECIDED, Judged, decided, known_threshold, matrix_at
from console.data.paging import pager, part_of
from console.data.slices import MOST_RUNS, PAGE, SORTS, Line, Sliced, SlicesView
from console.layout import button, field, get_form, select
from slipway.evaluation.results import OVERALL
from slipway.evaluation.slice_details import SAMPLES
from slipway.pages.charts import confusion_matrix
from slipway.pages.dots import Dot, dot_chart
from slipway.pages.numbers import MISSING, format_number, format_share
from slipway.pages.page import grid, notice, section, table, tiles
from slipway.pages.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from console.data.sets import Offer
    from slipway.pages.page import Cell

FORM = "/data/slices"
NAMED = 3


def slices_body(view: SlicesView, sliced: Sliced, offers: Sequence[Offer]) -> Markup:
    """The body of the page."""
    parts = [_following("headline", _headline(sliced)), *_warnings(sliced), _form(view, sliced, offers)]
    if sliced.threshold is not None:
        parts.append(_decision(view, sliced))
    parts += [_slices(view, sliced), *_classes(view, sliced), *_residuals(view, sliced)]
    return Markup("").join(parts)


def choose_runs(view: SlicesView, offers: Sequence[Offer]) -> Markup:
    """The runs that are compared, as select boxes."""
    known = {offer.reference: offer.text for offer in offers}
    options = [*known.items(), *((run, run) for run in view.runs if run not in known)]
    chosen = [*view.runs, *[""] * (MOST_RUNS - len(view.runs))]
    labels = ("run", *["beside it"] * (MOST_RUNS - 1))
    none = [("", "none")]
    return Markup("").join(
        select(label, "run", options if index == 0 else none + options, run)
        for index, (label, run) in enumerate(zip(labels, chosen, strict=True))
    )


def _following(name: str, *parts: Markup) -> Markup:
    """A part that `threshold.js` replaces while the slider moves."""
    return Markup('<div data-part="{}" aria-live="{}">{}</div>').format(
        name, "polite" if name == "decision" else "off", Markup("").join(parts)
    )


def _form(view: SlicesView, sliced: Sliced, offers: Sequence[Offer]) -> Markup:
    names = [OVERALL, *(line.name for line in sliced.lines)]
    if view.slice not in names:
        names.append(view.slice)
    has_parts = any(one.scores or one.confusion for judged in sliced.judged for one in judged.details.values())
    threshold = Markup("")
    if sliced.threshold is not None:
        threshold = Markup(
            '<label>decision threshold<input type="number" name="threshold" min="0" max="1" step="any" value="{}">'
            "</label>"
        ).format(f"{view.threshold:g}")
    return get_form(
        FORM,
        choose_runs(view, offers),
        select("slice by", "by", [("", "all features"), *((one, one) for one in sliced.columns)], view.by),
        select("metric", "metric", [(one, one.replace("_", " ")) for one in sliced.metrics], sliced.metric),
        select("sort by", "sort", list(SORTS.items()), view.sort),
        field("rows at least", "min_rows", str(view.min_rows), kind="number"),
        select("matrix of", "slice", [(one, one) for one in names], view.slice) if has_parts else Markup(""),
        threshold,
        button("show"),
    )


def _headline(sliced: Sliced) -> Markup:
    name = sliced.metric.replace("_", " ")
    items: list[tuple[str, Cell, Cell]] = [
        (_title(name, judged, sliced), format_number(dot.value) if dot else MISSING, _between(dot))
        for judged, dot in zip(sliced.judged, sliced.overall.dots, strict=True)
    ]
    ranked = [line for line in sliced.lines if line.dots[0] and line.dots[0].interval]
    items.append(
        ("slices", format_number(len(sliced.lines)), f"{sliced.hidden:,} have fewer rows" if sliced.hidden else "")
    )
    items.append(("rows", format_number(sliced.overall.rows), f"label {sliced.judged[0].evaluation.label}"))
    body, said = tiles(items), ""
    outside = [line for line in ranked if _is_outside(line, sliced.overall)]
    if ranked:
        told = f"{len(outside)} of {len(ranked)} slices with an interval differ from all rows by more than it"
        named = ", ".join(f"{line.name} {line.dots[0].said}" for line in outside[:NAMED] if line.dots[0])
        chance = " One in 20 would by chance." if outside else ""
        said = f"{told}{f': {named}' if named else ''}.{chance}"
    return body + notice(printable(said), "warn" if outside else "plain") if said else body


def _title(name: str, judged: Judged, sliced: Sliced) -> str:
    return f"{name}, {judged.title}" if len(sliced.judged) > 1 else name


def _between(dot: Dot | None, show: Callable[[float], str] = format_number) -> str:
    """An interval, of numbers in three digits: it is no more certain than that."""
    if not (dot and dot.interval):
        return ""
    low, high = (format_number(end, 3) if show is format_number else show(end) for end in dot.interval)
    return f"{low} to {high}"


def _pair(dot: Dot | None, show: Callable[[float], str] = format_number) -> Cell:
    value = show(dot.value) if dot else MISSING
    return Markup('<span class="nowrap">{}</span><br><small class="nowrap">{}</small>').format(
        value, _between(dot, show)
    )


def _is_outside(line: Line, overall: Line) -> bool:
    """Whether the first run's value on all rows lies outside of the slice's interval."""
    ours, whole = line.dots[0], overall.dots[0]
    return bool(ours and whole and ours.interval and not ours.interval[0] <= whole.value <= ours.interval[1])


def _warnings(sliced: Sliced) -> list[Markup]:
    said = []
    if old := [one.run for one in sliced.judged if not one.details]:
        said.append(
            f"{' and '.join(old)} has no intervals and no counts by threshold: these were not kept then. "
            "Run the pipeline again to have them."
        )
    if len({one.data for one in sliced.judged}) > 1:
        said.append(
            "The runs were evaluated on different data: a difference may come from the rows, not from the model."
        )
    return [notice(text, "warn") for text in said]


def _decision(view: SlicesView, sliced: Sliced) -> Markup:
    """What a threshold decides on the chosen rows."""
    figures: list[Markup] = []
    columns: list[list[Dot | None]] = []
    for judged in sliced.judged:
        matrix = matrix_at(judged, view.slice, view.threshold)
        if matrix is None:
            columns.append([None] * len(DECIDED))
            continue
        columns.append([decided(matrix, metric, judged) for metric in DECIDED])
        classes = judged.evaluation.classes or ["0", "1"]
        counts = [[matrix.true_negatives, matrix.false_positives], [matrix.false_negatives, matrix.true_positives]]
        figures.append(confusion_matrix(judged.title, classes, counts))
    names = [metric.replace("_", " ") for metric in DECIDED]
    if len(columns) == 1:
        shown = tiles(
            (name, _share(dot), _between(dot, format_share)) for name, dot in zip(names, *columns, strict=True)
        )
    else:
        rows: list[list[Cell]] = [
            [name, *(_pair(dot, format_share) for dot in dots)] for name, *dots in zip(names, *columns, strict=True)
        ]
        shown = table(["", *(judged.title for judged in sliced.judged)], rows)
    used = dict.fromkeys(f"{known_threshold(judged, view.threshold):g}" for judged in sliced.judged)
    is_used = list(used) == [f"{view.threshold:g}"]
    counted = "" if is_used else f", the nearest that was counted at ({view.threshold:g} was asked for)"
    where = "all rows" if view.slice == OVERALL else printable(view.slice)
    note = f"Predicted positive is a score above {' or '.join(used)}{counted}; on {where}."
    slider = Markup(
        '<label class="slider" hidden>decision threshold<input type="range" min="0" max="1" step="0.001" value="{}"'
        ' aria-valuetext="{}"><output>{}</output></label>'
    ).format(f"{view.threshold:g}", f"{view.threshold:g}", f"{view.threshold:g}")
    found = _following("decision", Markup('<p class="note">{}</p>').format(note), shown, grid(*figures))
    return section("Decision threshold", slider, found)


def _share(dot: Dot | None) -> str:
    return format_share(dot.value) if dot else MISSING


def _slices(view: SlicesView, sliced: Sliced) -> Markup:
    """Picture and table of the slices; they follow the threshold, too, where it decides the metric."""
    part = part_of(view, len(sliced.lines), PAGE)
    shown = sliced.lines[part]
    name = sliced.metric.replace("_", " ")
    if not shown:
        few = f"None of {sliced.hidden:,} slices has {view.min_rows:,} rows." if sliced.hidden else ""
        return section("Slices", notice(few or "module.yaml lists no slices.", "warn"))
    titles = [judged.title for judged in sliced.judged]
    picture = dot_chart(
        f"{name} by {view.by or 'slice'}, and its 95 % interval",
        titles,
        [(_name(line, view), line.dots) for line in shown],
        [dot.value if dot else None for dot in sliced.overall.dots],
        note="The upright line is all rows.",
    )
    headers = [view.by or "slice", "rows", *(f"{name}{f', {title}' if len(titles) > 1 else ''}" for title in titles)]
    rows = [[_name(line, view), format_number(line.rows), *map(_pair, line.dots)] for line in [sliced.overall, *shown]]
    turn = pager(view, part, len(sliced.lines), PAGE, "slices")
    return section("Slices", _following("slices", turn, picture, table(headers, rows)), note=_method(sliced))


def _name(line: Line, view: SlicesView) -> str:
    """A slice's name; the value alone where all are of one feature."""
    return printable(line.name.removeprefix(f"{view.by}="))


def _method(sliced: Sliced) -> str:
    weight = sliced.judged[0].evaluation.weight
    if sliced.threshold is not None and sliced.metric in DECIDED:
        said = "Intervals are Wilson's score intervals (95 %)."
        said = f"Rows count by {weight}, for which there is no such interval." if weight else said
    else:
        said = (
            f"Intervals are TFMA's Poisson bootstrap (95 %, {SAMPLES} samples); none where it leaves a value undefined."
        )
    rest = f" {sliced.left_out:,} more slices were checked and are not listed." if sliced.left_out else ""
    return said + " They are of each run alone: two that overlap may still differ on the same rows." + rest


def _classes(view: SlicesView, sliced: Sliced) -> list[Markup]:
    """Of several classes: the confusion matrix of all rows, or of a slice."""
    if sliced.judged[0].evaluation.task != "multiclass":
        return []
    figures = []
    for judged in sliced.judged:
        overall, detail = judged.evaluation.curves.confusion_matrix, judged.details.get(view.slice)
        counts = detail.confusion if detail else overall.counts if overall and view.slice == OVERALL else []
        if counts:
            figures.append(confusion_matrix(f"{judged.title}, {view.slice}", judged.evaluation.classes, counts))
    missing = notice("There is no confusion matrix of this slice: it is kept for 20 classes at most.", "plain")
    return [section("Confusion matrix", *(figures or [missing]))]


def _residuals(view: SlicesView, sliced: Sliced) -> list[Markup]:
    """Of a regression: the median residual of each slice, and where nine of ten lie."""
    if sliced.judged[0].evaluation.task != "regression" or not any(one.details for one in sliced.judged):
        return []
    names = [OVERALL, *(line.name for line in sliced.lines[part_of(view, len(sliced.lines), PAGE)])]
    rows = [(printable(name), [_residual(judged, name) for judged in sliced.judged]) for name in names]
    titles = [judged.title for judged in sliced.judged]
    picture = dot_chart("Prediction less label: median, and where 90 % lie", titles, rows, [0.0])
    return [section("Residuals", picture)]


def _residual(judged: Judged, name: str) -> Dot | None:
    detail = judged.details.get(name)
    if detail is None or not detail.residuals:
        return None
    low, _, median, _, high = detail.residuals
    return Dot(median, (low, high))
