"""`evaluation.json`: what evaluate_model found, as push_model, `report` and `explain` read it.

A metric that is undefined on some rows (AUC where all labels are alike; anything where a prediction is NaN) is null.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from slipway.evaluation.config import Engine
from slipway.module_api import Task
from slipway.stores import storage
from slipway.stores.artifacts import read_json

FILE = "evaluation.json"
OVERALL = "overall"
MISSING = "(missing)"

Rule = Literal["min", "max", "max_drop", "present", "valid_predictions", "beats_constant"]
Outcome = Literal["passed", "failed", "not_checked"]
Metrics = dict[str, float | None]


class Check(BaseModel):
    """One threshold, or a condition that always holds, on one set of rows, and what came of it.

    `slice` is `overall`, one slice (`payment_type=Cash`) or, where `note` sums up several slices, their columns
    (`payment_type x company`). `value` and `baseline` are the metric of the candidate and of the production model.
    """

    metric: str
    slice: str = OVERALL
    columns: list[str] = []
    values: list[str | None] | None = Field(None, description="of the columns; null where this is about several slices")
    rule: Rule
    bound: float | None = None
    value: float | None = None
    baseline: float | None = None
    examples: int = 0
    outcome: Outcome
    note: str = Field("", description="why the outcome is what it is, where the numbers do not say it")

    def describe(self) -> str:
        """One line for people: `auc 0.912 on payment_type=Cash is below 0.93 (n=1,204)`."""
        where = "" if self.slice == OVERALL else f" on {self.slice}"
        count = f" (n={self.examples:,})" if self.examples else ""
        if self.outcome == "not_checked":
            return f"{self.metric}{where} not checked: {self.note}{count}"
        if self.note or self.value is None or self.bound is None:
            return f"{self.metric}{where} {self.outcome}: {self.note}{count}"
        return f"{self.metric} {self._comparison(where)}{count}"

    def _comparison(self, where: str) -> str:
        assert self.value is not None
        assert self.bound is not None
        passed = self.outcome == "passed"
        if self.rule == "max_drop" and self.baseline is not None:
            value, baseline = _apart(self.value, self.baseline)
            allowed = f"at most {_short(self.bound)} worse than" if self.bound else "no worse than"
            must = "is" if passed else "should be"
            return f"{value}{where} {must} {allowed} production's {baseline}"
        value, bound = _apart(self.value, self.bound)
        if self.rule == "min":
            return f"{value}{where} is {'at least' if passed else 'below'} {bound}"
        return f"{value}{where} is {'at most' if passed else 'above'} {bound}"


class Verdict(BaseModel):
    """Whether the candidate may be pushed, and every check that led there: refusals first."""

    blessed: bool
    checks: list[Check]

    def reasons(self) -> list[str]:
        """Plain lines: why it was refused; or, if it was blessed, what it passed and what could not be checked."""
        failed = [check.describe() for check in self.checks if check.outcome == "failed"]
        if failed:
            return failed
        return [
            check.describe()
            for check in self.checks
            if check.outcome == "not_checked" or check.slice == OVERALL or check.note
        ]


class SliceResult(BaseModel):
    """Metrics on the rows that share the values of some columns; `overall` has none. A null value is a missing one."""

    columns: list[str] = []
    values: list[str | None] = []
    examples: int
    candidate: Metrics
    baseline: Metrics | None = None

    @property
    def name(self) -> str:
        """`payment_type=Cash, hour=7`, or `overall`."""
        return slice_name(self.columns, self.values)


class LeftOut(BaseModel):
    """Slices that were computed and checked, but are not listed: neither large nor among the worst."""

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
    examples: int
    mean_prediction: float
    mean_label: float


class Histogram(BaseModel):
    """Examples by prediction: one count a bin by class name; in regression by `predictions` and `labels`."""

    edges: list[float]
    counts: dict[str, list[int]]


class ConfusionMatrix(BaseModel):
    """`counts[actual][predicted]`. Binary predicts the second class above 0.5; multiclass the largest output."""

    classes: list[str]
    counts: list[list[int]]


class Curves(BaseModel):
    """What a page draws of one model, overall. What a task has not is null."""

    roc: Roc | None = None
    precision_recall: PrecisionRecall | None = None
    calibration: list[CalibrationBin] = []
    histogram: Histogram | None = None
    confusion_matrix: ConfusionMatrix | None = None


class Evaluation(BaseModel):
    """The whole content of `evaluation.json`."""

    task: Task
    label: str
    classes: list[str] = []
    engine: Engine
    examples: int = Field(description="rows of the eval split with a label")
    unlabelled: int = Field(0, description="rows of the eval split without one: left out")
    baseline_uri: str | None = Field(None, description="the production model compared with; null if there was none")
    baseline_problem: str | None = Field(None, description="why the production model could not be scored")
    verdict: Verdict
    overall: SliceResult
    slices: list[SliceResult] = Field([], description="by columns; the largest and the worst of each")
    left_out: list[LeftOut] = []
    worst: list[SliceResult] = Field(
        [], description="worst first, by `worst_metric`; only slices large enough that it is not chance"
    )
    worst_metric: str = ""
    curve_examples: int | None = Field(None, description="rows that curves are of, where the tfma engine took a sample")
    curves: Curves = Curves()
    baseline_curves: Curves | None = None


def slice_name(columns: list[str] | tuple[str, ...], values: list[str | None] | tuple[str | None, ...]) -> str:
    """How a slice is called everywhere."""
    pairs = zip(columns, values, strict=True)
    return ", ".join(f"{column}={MISSING if value is None else value}" for column, value in pairs) or OVERALL


def write_evaluation(evaluation: Evaluation, folder: str | Path) -> None:
    """Writes `evaluation.json`, atomically."""
    storage.write_text(storage.join(str(folder), FILE), evaluation.model_dump_json(indent=1))


def read_evaluation(folder: str | Path) -> Evaluation:
    """The evaluation of an artifact of evaluate_model.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    return read_json(folder, FILE, Evaluation, "evaluate_model")


def _short(number: float) -> str:
    return f"{number:.4g}"


def _apart(one: float, other: float) -> tuple[str, str]:
    """Both numbers, with as many digits as it takes to tell them apart."""
    for digits in range(4, 18):
        pair = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if one == other or pair[0] != pair[1]:
            return pair
    return repr(one), repr(other)
