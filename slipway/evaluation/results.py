"""`evaluation.json`, written by evaluate_model and read by push_model, `report` and `explain`.

An undefined metric (AUC where all labels are alike; any metric where a prediction is NaN) is null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from slipway.evaluation.config import Engine
from slipway.evaluation.metric import judged_metrics
from slipway.module_api import Better, Task
from slipway.stores import storage
from slipway.stores.artifacts import parse_json, read_json

FILE = "evaluation.json"
FIX = "run evaluate_model again"
OVERALL = "overall"
PRODUCTION = "production"
MISSING = "(missing)"

Rule = Literal["min", "max", "max_drop", "present", "valid_predictions", "beats_constant", "plausible"]
Outcome = Literal["passed", "failed", "not_checked"]
Metrics = dict[str, float | None]
Count = int | float  # of rows; with weights, their sum


class Check(BaseModel):
    """The outcome of one threshold, or of a condition that always holds, on one set of rows.

    `slice` is `overall`, one slice (`payment_type=Cash`) or, where `note` sums up several slices, their columns
    (`payment_type x company`). `value` and `baseline` are the metric of the candidate and of the model that it is
    compared with, `against`.
    """

    metric: str
    slice: str = OVERALL
    columns: list[str] = []
    values: list[str | None] | None = Field(None, description="of the columns; null for several slices")
    rule: Rule
    bound: float | None = None
    value: float | None = None
    baseline: float | None = None
    against: str = Field(PRODUCTION, description="or a version that served before, `version 3`")
    drop: float | None = Field(None, description="max_drop: how much worse than `baseline`; negative if better")
    interval: tuple[float, float] | None = Field(None, description="of the drop: one-sided 95 % bounds; null if none")
    rows_wanted: int | None = Field(None, description="max_drop: null where the rows are enough to tell")
    examples: int = 0
    outcome: Outcome
    note: str = Field("", description="the reason for the outcome, where the numbers do not show it")

    def describe(self) -> str:
        """One line of text: `auc 0.912 on payment_type=Cash is below 0.93 (n=1,204)`."""
        where = "" if self.slice == OVERALL else f" on {self.slice}"
        count = f" (n={self.examples:,})" if self.examples else ""
        if self.outcome == "not_checked":
            return f"{self.metric}{where} not checked: {self.note}{count}"
        if self.note or self.value is None or self.bound is None:
            return f"{self.metric}{where} {self.outcome}: {self.note}{count}"
        if self.rule == "max_drop" and self.baseline is not None:
            return self._describe_drop(self.value, self.baseline, self.bound)
        value, bound = _apart(self.value, self.bound)
        passed = self.outcome == "passed"
        relation = {"min": ("is below", "is at least")}.get(self.rule, ("is above", "is at most"))[passed]
        return f"{self.metric} {value}{where} {relation} {bound}{count}"

    def _describe_drop(self, value: float, baseline: float, bound: float) -> str:
        """`auc 0.93 should be at most 0.01 worse than production's 0.95 (drop 0.02, 90 % interval 0.012 to 0.028)`."""
        ours, theirs = _apart(value, baseline)
        where = "" if self.slice == OVERALL else f" on {self.slice}"
        allowed = f"at most {bound:.4g} worse than" if bound else "no worse than"
        other = (
            f"production's {theirs}"
            if self.against == PRODUCTION
            else f"the {theirs} of {self.against}, the best of those that served last"
        )
        drop, (low, high) = self.drop or 0.0, self.interval or (-math.inf, math.inf)
        known = f"90 % interval {low:.3g} to {high:.3g}" if math.isfinite(high) else "too few rows for an interval"
        compared = f"{allowed} {other} (drop {drop:.3g}, {known}; n={self.examples:,})"
        if self.outcome == "passed":
            return f"{self.metric} {ours}{where} is{'' if drop <= bound else ', but for chance,'} {compared}"
        if self.rows_wanted is None:
            return f"{self.metric} {ours}{where} should be {compared}"
        why = (
            f"a drop above {2 * bound:.4g} cannot be ruled out" if bound else "and max_drop 0 leaves no room for chance"
        )
        return (
            f"cannot tell whether {self.metric} {ours}{where} is {compared}: {why}; "
            f"about {self.rows_wanted:,} rows would do"
        )


class Verdict(BaseModel):
    """Whether the candidate may be pushed, and every check: refusals first."""

    blessed: bool
    checks: list[Check]

    def reasons(self) -> list[str]:
        """The failed checks; without any, the overall checks and those that were not done."""
        failed = [check.describe() for check in self.checks if check.outcome == "failed"]
        if failed:
            return failed
        return [
            check.describe()
            for check in self.checks
            if check.outcome == "not_checked" or check.slice == OVERALL or check.note
        ]


class SliceResult(BaseModel):
    """Metrics of one slice; `overall` has no columns. A null value is a missing one."""

    columns: list[str] = []
    values: list[str | None] = []
    examples: int
    candidate: Metrics
    baseline: Metrics | None = None

    @property
    def name(self) -> str:
        """`payment_type=Cash, hour=7`, or `overall`."""
        return name_slice(self.columns, self.values)


def name_slice(columns: Sequence[str], values: Sequence[str | None]) -> str:
    """`payment_type=Cash, hour=7`, or `overall` without columns."""
    pairs = zip(columns, values, strict=True)
    return ", ".join(f"{column}={MISSING if value is None else value}" for column, value in pairs) or OVERALL


class LeftOut(BaseModel):
    """Slices that were checked but are not listed: neither large nor among the worst."""

    columns: list[str]
    slices: int
    examples: int


class Roc(BaseModel):
    """ROC curve from (0, 0) to (1, 1): parallel lists by falling threshold."""

    thresholds: list[float]
    false_positive_rate: list[float]
    true_positive_rate: list[float]


class PrecisionRecall(BaseModel):
    """Precision-recall curve by falling threshold, so by growing recall."""

    thresholds: list[float]
    precision: list[float]
    recall: list[float]


class CalibrationBin(BaseModel):
    """Examples whose prediction is in `[lower, upper)`; equally wide bins, empty ones left out."""

    lower: float
    upper: float
    examples: Count
    mean_prediction: float
    mean_label: float


class Histogram(BaseModel):
    """Counts by bin of the prediction, for each class name; in regression for `predictions` and `labels`."""

    edges: list[float]
    counts: dict[str, list[Count]]


class ConfusionMatrix(BaseModel):
    """`counts[actual][predicted]`. Binary predicts the second class above 0.5; multiclass the largest output."""

    classes: list[str]
    counts: list[list[Count]]


class Curves(BaseModel):
    """The overall curves of one model; null where the task has none."""

    roc: Roc | None = None
    precision_recall: PrecisionRecall | None = None
    calibration: list[CalibrationBin] = []
    histogram: Histogram | None = None
    confusion_matrix: ConfusionMatrix | None = None


class Mistake(BaseModel):
    """A wrong answer on an image. A regression has no probabilities."""

    label: str
    prediction: str
    probability: float | None = Field(None, description="of the prediction")
    label_probability: float | None = Field(None, description="of the label")
    picture: str = Field(description="the image as a data URI")


class Evaluation(BaseModel):
    """The whole content of `evaluation.json`."""

    task: Task
    label: str
    classes: list[str] = []
    engine: Engine
    weight: str | None = Field(None, description="the column by which metrics and curves weigh the rows")
    own: dict[str, Better] = Field({}, description="the module's own metrics, and which direction is better")
    examples: int = Field(description="rows of the eval split with a label and a weight above 0")
    unlabelled: int = Field(0, description="rows of the eval split without one: left out")
    baseline_uri: str | None = Field(None, description="the production model compared with; null if there was none")
    baseline_problem: str | None = Field(None, description="why the production model could not be scored")
    verdict: Verdict
    overall: SliceResult
    slices: list[SliceResult] = Field([], description="by columns; the largest and the worst of each")
    left_out: list[LeftOut] = []
    worst: list[SliceResult] = Field(
        [], description="worst first, by `worst_metric`; slices large enough to be no chance"
    )
    worst_metric: str = ""
    curve_examples: int | None = Field(None, description="rows behind the curves, if the tfma engine took a sample")
    curves: Curves = Curves()
    baseline_curves: Curves | None = None
    mistakes: list[Mistake] = Field([], description="on images: the wrong answers, the most confident first")

    @property
    def baseline_version(self) -> int | None:
        """Number of the production model: its directory's name. An emulator's URI ends with a query."""
        name = (self.baseline_uri or "").partition("?")[0].rstrip("/").rpartition("/")[2]
        return int(name) if name.isdigit() else None

    def facts(self) -> dict[str, float]:
        """What else is known at a glance: rows, production's version, and the metrics that are not judged."""
        judged = [*judged_metrics(self.task), *self.own]
        facts: Metrics = {name: value for name, value in self.overall.candidate.items() if name not in judged}
        facts |= {"rows_without_label": self.unlabelled, "baseline_version": self.baseline_version}
        return {name: value for name, value in facts.items() if value is not None}

    def scalars(self) -> dict[str, float | None]:
        """What Kubeflow's UI lists and compares: `blessed`, the judged metrics, and how far each is from production's.

        The UI sorts by name and shows ten on a page: no task has more before `vs_baseline_…`, which come last, but for
        the module's own metrics.
        """
        judged, ours, theirs = (
            [*judged_metrics(self.task), *self.own],
            self.overall.candidate,
            self.overall.baseline or {},
        )
        apart = {
            f"vs_baseline_{name}": value - other
            for name in judged
            if (value := ours.get(name)) is not None and (other := theirs.get(name)) is not None
        }
        return {"blessed": float(self.verdict.blessed), **{name: ours.get(name) for name in judged}, **apart}


def write_evaluation(evaluation: Evaluation, folder: str | Path) -> None:
    """Writes `evaluation.json`, atomically."""
    storage.write_text(storage.join(str(folder), FILE), evaluation.model_dump_json(indent=1))


def read_evaluation(folder: str | Path) -> Evaluation:
    """The evaluation of an artifact of evaluate_model; raises StoreError where it is missing or damaged."""
    return read_json(folder, FILE, Evaluation, "evaluate_model")


def fetch_evaluation(uri: str) -> Evaluation:
    """The same of an artifact on this machine or in a bucket, of which only this file is fetched."""
    file = storage.join(uri, FILE)
    return parse_json(storage.read_bytes(file), Evaluation, file, FIX)


def _apart(one: float, other: float) -> tuple[str, str]:
    """Both numbers, with as many digits as it takes to tell them apart."""
    for digits in range(4, 18):
        pair = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if one == other or pair[0] != pair[1]:
            return pair
    return repr(one), repr(other)
