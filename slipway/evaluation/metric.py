"""Every metric, declared once: its task, which direction is better, TFMA's class for it, and where it is shown.

How a metric is computed: `metrics.py` (in memory), `tfma/readback.py` (from TFMA's numbers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from slipway.module_api import MetricName, Task

Value = TypeVar("Value", float, "NDArray[np.float64]")

Best = Literal["high", "low", "one"]  # "one": calibration is best at 1
Shown = Literal["key", "slices"]  # a key figure of the run and a column of the slice tables; or a column only

CANDIDATE, BASELINE = "candidate", "baseline"
EXAMPLE_COUNT, MEAN_LABEL = "example_count", "mean_label"
DECIDED = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")  # they depend on the decision threshold alone
MEANS = "slipway.evaluation.tfma.means"
AVERAGE_PRECISION = "slipway.evaluation.tfma.average_precision.AveragePrecision"


@dataclass(frozen=True)
class Metric:
    """One metric of one task.

    Attributes:
        name: As in thresholds, files and pages.
        best: The better direction; without one there is no `max_drop`.
        tfma: TFMA's class, ours with its module; without one the metric is derived from others.
        shown: Where a page shows it beside the table of all metrics.
    """

    name: MetricName
    best: Best | None = None
    tfma: str = ""
    shown: Shown | None = None


_MEANS = (
    Metric("mean_prediction", None, "MeanPrediction"),
    Metric("mean_label", None, "MeanLabel"),
    Metric("example_count", None, "ExampleCount"),
)
# In the order in which they are shown. The first of a task ranks the slices.
METRICS: dict[Task, tuple[Metric, ...]] = {
    "binary": (
        Metric("auc", "high", "AUC", "key"),
        Metric("auc_pr", "high", AVERAGE_PRECISION, "slices"),
        Metric("log_loss", "low", f"{MEANS}.LogLoss", "key"),
        Metric("accuracy", "high", "BinaryAccuracy", "key"),
        Metric("balanced_accuracy", "high", "BalancedAccuracy"),
        Metric("precision", "high", "Precision", "slices"),
        Metric("recall", "high", "Recall", "slices"),
        Metric("f1", "high", "F1Score"),
        Metric("calibration", "one", "Calibration", "slices"),
        *_MEANS,
    ),
    "multiclass": (
        Metric("accuracy", "high", "SparseCategoricalAccuracy", "key"),
        Metric("balanced_accuracy", "high", "", "slices"),
        Metric("macro_f1", "high"),
        Metric("log_loss", "low", "SparseCategoricalCrossentropy", "key"),
        Metric("auc", "high", "AUC", "key"),
        Metric("example_count", None, "ExampleCount"),
    ),
    "regression": (
        Metric("root_mean_squared_error", "low", "", "key"),
        Metric("mean_absolute_error", "low", f"{MEANS}.AbsoluteError", "key"),
        Metric("r_squared", "high", "", "key"),
        Metric("mean_squared_error", "low", f"{MEANS}.SquaredError"),
        Metric("calibration", "one", "Calibration", "slices"),
        *_MEANS,
    ),
}
BEST: dict[str, Best | None] = {metric.name: metric.best for metrics in METRICS.values() for metric in metrics}


def key_metrics(task: Task) -> list[str]:
    """The key figures of a run."""
    return [metric.name for metric in METRICS[task] if metric.shown == "key"]


def slice_metrics(task: Task) -> list[str]:
    """The columns of a table of slices."""
    return [metric.name for metric in METRICS[task] if metric.shown]


def judged_metrics(task: Task) -> list[str]:
    """Metrics that can be better or worse; the others describe the rows and the predictions."""
    return [metric.name for metric in METRICS[task] if metric.best]


def how_much_worse(best: Best | None, value: Value, baseline: Value) -> Value:
    """The difference that `max_drop` bounds; negative where the candidate is better."""
    if best == "one":
        return abs(value - 1) - abs(baseline - 1)
    return value - baseline if best == "low" else baseline - value


def ranking_metric(task: Task) -> str:
    """The metric by which one slice is worse than another."""
    return METRICS[task][0].name
