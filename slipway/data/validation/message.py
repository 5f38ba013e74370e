"""The anomalies as text, for the log and for the error that stops the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.data.validation.report import FILE
from slipway.pages.numbers import format_number

if TYPE_CHECKING:
    from slipway.data.validation.report import Anomaly, Validation


LISTED_ERRORS = 10


def refusal(validation: Validation) -> str:
    """The message of the run's error: anomalies with place, rows, example, bound and fix."""
    errors = validation.errors
    count = f"{len(errors)} anomalies" if len(errors) > 1 else "an anomaly"
    lines = [f"The data has {count}; nothing was trained."]
    lines += [describe_anomaly(anomaly) for anomaly in errors[:LISTED_ERRORS]]
    if len(errors) > LISTED_ERRORS:
        lines.append(f"- and {len(errors) - LISTED_ERRORS} more: see the page of this step, or {FILE}")
    return "\n".join(lines)


def describe_anomaly(anomaly: Anomaly) -> str:
    """Three lines: place and problem, extent and bound, fix."""
    place = f"feature {anomaly.feature!r}, split {anomaly.split}" if anomaly.feature else f"split {anomaly.split}"
    facts = []
    if anomaly.rows is not None:
        facts.append(f"{format_number(anomaly.rows)} of {format_number(anomaly.of_rows)} rows")
    if anomaly.example is not None:
        facts.append(f"for example {anomaly.example!r}")
    if anomaly.bound:
        facts.append(f"the schema asks for {anomaly.bound}")
    lines = [f"- {place}: {anomaly.type}: {anomaly.description}"]
    if facts:
        lines.append(f"  {'; '.join(facts)}")
    return "\n".join([*lines, f"  Fix: {anomaly.fix}"])
