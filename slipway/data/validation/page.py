"""The HTML page of the findings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from markupsafe import Markup

from slipway.pages.numbers import format_number, format_share
from slipway.pages.page import badge, code, notice, render_page, table

if TYPE_CHECKING:
    from slipway.data.validation.report import Anomaly, Comparison, Validation
    from slipway.pages.page import Cell, Tone

_MEASURES = {"L_INFTY": "L-infinity", "JENSEN_SHANNON_DIVERGENCE": "Jensen-Shannon"}


def render_validation(validation: Validation) -> str:
    """One HTML page."""
    return render_page(
        "Validation", Markup("").join(validation_parts(validation)), subtitle="The examples against their schema."
    )


def validation_parts(validation: Validation) -> list[Markup]:
    """Verdict, anomalies and distances, which a run's report shows too."""
    errors, warnings = len(validation.errors), len(validation.anomalies) - len(validation.errors)
    verdict = notice("The examples fit their schema.", "good")
    if errors or warnings:
        stopped, passed = f"{errors} errors: the run stopped before training.", f"No errors, {warnings} warnings."
        verdict = notice(stopped, "bad") if errors else notice(passed, "warn")
    parts = [verdict]
    if validation.anomalies:
        parts += [Markup("<h3>Anomalies</h3>"), anomalies_table(validation.anomalies)]
    if validation.comparisons:
        headers = ["", "Feature", "Compared", "Measure", "Distance", "Threshold"]
        rows = [_comparison_row(comparison) for comparison in validation.comparisons]
        parts += [Markup("<h3>Drift and skew</h3>"), table(headers, rows, text_columns=4)]
    return parts


def anomalies_table(anomalies: Iterable[Anomaly]) -> Markup:
    """Anomalies, one a line."""
    headers = ["", "Feature", "Split", "What", "Rows", "Share"]
    return table(headers, [_anomaly_row(anomaly) for anomaly in anomalies], text_columns=4)


def _anomaly_row(anomaly: Anomaly) -> list[Cell]:
    tone: Tone = "bad" if anomaly.severity == "ERROR" else "warn"
    what = Markup("{} {}").format(Markup("<strong>{}</strong><br>").format(anomaly.short), anomaly.description)
    if anomaly.example is not None:
        what += Markup("<br>For example {}.").format(code(anomaly.example))
    if anomaly.bound:
        what += Markup("<br>The schema asks for {}.").format(code(anomaly.bound))
    what += Markup("<br><em>Fix:</em> {}").format(anomaly.fix)
    share = format_share(anomaly.rows / anomaly.of_rows) if anomaly.rows is not None and anomaly.of_rows else ""
    rows = "" if anomaly.rows is None else format_number(anomaly.rows)
    return [
        badge(anomaly.severity.lower(), tone),
        anomaly.feature or "(all)",
        anomaly.split or "(none)",
        what,
        rows,
        share,
    ]


def _comparison_row(comparison: Comparison) -> list[Cell]:
    passed = comparison.value <= comparison.threshold
    compared = "with the run before" if comparison.kind == "drift" else "eval with train"
    state = badge("within", "good") if passed else badge("too far", "bad")
    figures = (format_number(comparison.value), format_number(comparison.threshold))
    return [state, comparison.feature, compared, _MEASURES[comparison.measure], *figures]
