"""`validation.json`, written by validate_examples for the report, `explain` and the error message."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from slipway.stores import storage

FILE = "validation.json"
ANOMALIES = "anomalies.pbtxt"

Severity = Literal["ERROR", "WARNING"]
Kind = Literal["drift", "skew"]
Measure = Literal["L_INFTY", "JENSEN_SHANNON_DIVERGENCE"]


class Anomaly(BaseModel):
    """One violation of the schema."""

    feature: str = Field(description="empty if the anomaly is of the split as a whole")
    split: str
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


def write_validation(validation: Validation, artifact_path: str) -> None:
    """Writes `validation.json`, atomically."""
    storage.write_text(storage.join(artifact_path, FILE), validation.model_dump_json(indent=2) + "\n")


def read_validation(artifact_uri: str) -> Validation:
    """The validation of an artifact of validate_examples.

    Raises:
        StoreError: there is none.
    """
    return Validation.model_validate_json(storage.read_text(storage.join(artifact_uri, FILE)))
