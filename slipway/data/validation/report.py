"""`validation.json`, written by validate_examples for the report and `explain`; and the same as text, for the log."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from slipway.pages.numbers import format_number
from slipway.stores import storage

FILE = "validation.json"
LISTED_ERRORS = 10

Severity = Literal["ERROR", "WARNING"]
Kind = Literal["drift", "skew"]
Measure = Literal["L_INFTY", "JENSEN_SHANNON_DIVERGENCE"]


class Anomaly(BaseModel):
    """One violation of the schema."""

    feature: str = Field(description="empty if the anomaly is of the split as a whole")
    split: str = Field(description="empty if it is of rows that are in no split")
    severity: Severity
    type: str = Field(description="name of an `AnomalyInfo.Type` of tensorflow-metadata")
    short: str
    description: str
    rows: int | None = Field(None, description="number of offending rows, if known")
    of_rows: int = Field(description="rows of the split")
    example: str | None = Field(None, description="the most frequent offending value")
    bound: str = Field("", description="the part of the schema that is violated")
    fix: str


class Comparison(BaseModel):
    """One distance between two datasets."""

    feature: str
    kind: Kind = Field(description="drift: to the run before; skew: of eval to train")
    measure: Measure
    value: float
    threshold: float


class Validation(BaseModel):
    """The content of `validation.json`."""

    anomalies: list[Anomaly] = []
    comparisons: list[Comparison] = []

    @property
    def errors(self) -> list[Anomaly]:
        """The anomalies that stop the run."""
        return [anomaly for anomaly in self.anomalies if anomaly.severity == "ERROR"]

    def facts(self) -> dict[str, Any]:
        """What is known at a glance: how many anomalies there are, and the worst of them, each in a few words."""
        worst = sorted(self.anomalies, key=lambda anomaly: anomaly.severity)[:LISTED_ERRORS]
        return {
            "errors": len(self.errors),
            "warnings": len(self.anomalies) - len(self.errors),
            "anomalies": [
                f"{one.severity}: {one.split}: {one.feature or 'all features'}: {one.short}" for one in worst
            ],
        }


def write_validation(validation: Validation, artifact_path: str) -> None:
    """Writes `validation.json`, atomically."""
    storage.write_text(storage.join(artifact_path, FILE), validation.model_dump_json(indent=2) + "\n")


def read_validation(artifact_uri: str) -> Validation:
    """The validation of an artifact of validate_examples.

    Raises:
        StoreError: there is none.
    """
    return Validation.model_validate_json(storage.read_text(storage.join(artifact_uri, FILE)))


def refusal(validation: Validation) -> str:
    """The message of the run's error: anomalies with place, rows, example, bound and fix."""
    errors = validation.errors
    count = f"{len(errors)} anomalies" if len(errors) > 1 else "an anomaly"
    lines = [f"The data has {count}; nothing was trained."]
    lines += [describe_anomaly(anomaly) for anomaly in errors[:LISTED_ERRORS]]
    if len(errors) > LISTED_ERRORS:
        lines.append(f"- and {len(errors) - LISTED_ERRORS} more: see the page of validate_examples, or {FILE}")
    return "\n".join(lines)


def describe_anomaly(anomaly: Anomaly) -> str:
    """Three lines: place and problem, extent and bound, fix."""
    names = (
        f"feature {anomaly.feature!r}" if anomaly.feature else "",
        f"split {anomaly.split}" if anomaly.split else "",
    )
    place = ", ".join(filter(None, names)) or "the data"
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
