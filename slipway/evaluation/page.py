"""The HTML page of an evaluation: verdict, metrics by slice, curves."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from markupsafe import Markup

from slipway.evaluation.metric import CANDIDATE, slice_metrics
from slipway.evaluation.results import OVERALL, PRODUCTION, Check, Evaluation, Mistake, SliceResult
from slipway.pages.charts import Series, calibration_chart, confusion_matrix, line_chart
from slipway.pages.histograms import Bins, histogram
from slipway.pages.numbers import format_number, format_share
from slipway.pages.page import badge, details, grid, notice, pictures, render_page, section, table

if TYPE_CHECKING:
    from collections.abc import Sequence


def evaluation_page(evaluation: Evaluation) -> str:
    """One self-contained page."""
    compared = f"compared with {evaluation.baseline_uri}" if evaluation.baseline_uri else "no production model yet"
    subtitle = f"{evaluation.examples:,} examples of the eval split; label {evaluation.label}; {compared}"
    return render_page("Evaluation", Markup("").join(evaluation_sections(evaluation)), subtitle=subtitle)


def evaluation_sections(evaluation: Evaluation) -> list[Markup]:
    """The sections of the page, which a run's report shows too."""
    rows = evaluation.curve_examples
    sampled = "" if rows is None else f"Drawn from a random sample of {rows:,} examples."
    return [
        section("Verdict", verdict_notice(evaluation), _checks(evaluation)),
        section("Metrics", _metrics(evaluation), note=_notes(evaluation)),
        section("Metrics by slice", *_slices(evaluation)),
        *([section("Worst mistakes", _mistakes(evaluation.mistakes))] if evaluation.mistakes else []),
        section("Curves", grid(*_curves(evaluation)), note=sampled),
    ]


def _notes(evaluation: Evaluation) -> str:
    weighed = f"Rows count by {evaluation.weight} in metrics, curves and comparisons; n is of those above 0. "
    own = ", ".join(f"{name} ({better} is better)" for name, better in evaluation.own.items())
    return (weighed if evaluation.weight else "") + (f"The module's own: {own}." if own else "")


def verdict_notice(evaluation: Evaluation) -> Markup:
    """Blessed or refused, with the reasons."""
    blessed = evaluation.verdict.blessed
    reasons = Markup("").join(Markup("<li>{}</li>").format(reason) for reason in evaluation.verdict.reasons())
    state = badge("blessed", "good") if blessed else badge("refused", "warn")
    return notice(Markup("{}<ul>{}</ul>").format(state, reasons), "good" if blessed else "warn")


def _checks(evaluation: Evaluation) -> Markup:
    tones = {"passed": badge("passed", "good"), "failed": badge("failed", "bad"), "not_checked": badge("not checked")}
    rows = [
        (check.metric, check.slice, check.rule, tones[check.outcome], "" if check.baseline is None else check.against,
         format_number(check.bound), format_number(check.value), format_number(check.baseline), _drop(check),
         format_number(check.examples or None))
        for check in evaluation.verdict.checks
    ]  # fmt: skip
    headers = ("metric", "where", "rule", "outcome", "against", "bound", CANDIDATE, "the other",
               "drop (90 % interval)", "n")  # fmt: skip
    return details("All checks", table(headers, rows, text_columns=5))


def _drop(check: Check) -> str:
    if check.drop is None:
        return ""
    known = " to ".join(f"{bound:.2g}" for bound in check.interval or ())
    return f"{check.drop:.2g} ({known or 'too few rows'})"


def _metrics(evaluation: Evaluation) -> Markup:
    ours, theirs = evaluation.overall.candidate, evaluation.overall.baseline
    models = {CANDIDATE: ours} | ({} if theirs is None else {PRODUCTION: theirs})
    rows = [(name, *(format_number(one[name]) for one in models.values())) for name in ours]
    return table(("metric", *models), rows)


def _slices(evaluation: Evaluation) -> list[Markup]:
    parts = []
    if evaluation.worst:
        parts.append(Markup("<h3>Worst by {}</h3>").format(evaluation.worst_metric))
        parts.append(_slice_table(evaluation, evaluation.worst))
    left_out = {tuple(left.columns): left for left in evaluation.left_out}
    for names, group in groupby(evaluation.slices, key=lambda row: tuple(row.columns)):
        rows = list(group)
        shown = _slice_table(evaluation, rows)
        if left := left_out.get(names):
            note = f"{left.slices:,} more slices with {left.examples:,} examples are checked but not listed."
            shown += Markup('<p class="note">{}</p>').format(note)
        parts.append(details(f"By {' x '.join(names)}: {len(rows)} slices", shown))
    return parts or [Markup('<p class="note">module.yaml lists no slices.</p>')]


def _slice_table(evaluation: Evaluation, rows: Sequence[SliceResult]) -> Markup:
    shown = [*slice_metrics(evaluation.task), *evaluation.own]
    cells = [
        (row.name, format_number(row.examples), *(_both(row, name) for name in shown))
        for row in [evaluation.overall, *rows]
    ]
    note = Markup("")
    if any(row.baseline is not None for row in rows):
        note = Markup('<p class="note">Below each number, the small one is that of {}.</p>').format(PRODUCTION)
    return note + table(("slice", "examples", *shown), cells)


def _both(row: SliceResult, metric: str) -> Markup:
    ours = Markup("{}").format(format_number(row.candidate[metric]))
    if row.baseline is None or row.name == OVERALL:
        return ours
    return Markup("{}<br><small>{}</small>").format(ours, format_number(row.baseline[metric]))


def _mistakes(mistakes: Sequence[Mistake]) -> Markup:
    shown = []
    for each in mistakes:
        sure = "" if each.probability is None else f" ({format_share(each.probability)})"
        doubt = "" if each.label_probability is None else f" ({format_share(each.label_probability)})"
        shown.append((each.picture, f"{each.label}{doubt}, taken for {each.prediction}{sure}"))
    return pictures(shown)


def _curves(evaluation: Evaluation) -> list[Markup]:
    curves = evaluation.curves
    models = {CANDIDATE: curves} | ({PRODUCTION: evaluation.baseline_curves} if evaluation.baseline_curves else {})
    rocs = {name: one.roc for name, one in models.items() if one.roc}
    traced = {name: one.precision_recall for name, one in models.items() if one.precision_recall}
    figures = []
    if rocs:
        lines = [Series(name, roc.false_positive_rate, roc.true_positive_rate) for name, roc in rocs.items()]
        figures.append(_square("ROC curve", lines, "false positive rate", "true positive rate", diagonal=True))
    if traced:
        lines = [Series(name, one.recall, one.precision) for name, one in traced.items()]
        figures.append(_square("Precision and recall", lines, "recall", "precision"))
    if curves.calibration and evaluation.task == "binary":
        columns = zip(*((one.mean_prediction, one.mean_label, one.examples) for one in curves.calibration), strict=True)
        figures.append(calibration_chart("Calibration", *columns))
    if curves.histogram:
        bars = [Bins(name, curves.histogram.edges, counts) for name, counts in curves.histogram.counts.items()]
        figures.append(histogram("Predictions by label", bars, x_label="prediction"))
    if curves.confusion_matrix:
        matrix = curves.confusion_matrix
        figures.append(confusion_matrix("Confusion matrix", matrix.classes, matrix.counts))
    return figures


def _square(title: str, lines: Sequence[Series], x_label: str, y_label: str, diagonal: bool = False) -> Markup:
    return line_chart(title, lines, x_label=x_label, y_label=y_label, x_range=(0, 1), y_range=(0, 1), diagonal=diagonal)
