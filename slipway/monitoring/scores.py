"""Metrics on the requests whose labels have come, with 95 % intervals, beside the values of the evaluation.

The standard error of the AUC of two classes is DeLong's (1988, https://doi.org/10.2307/2531595), that of a mean over
rows Student's, and that of any other metric a bootstrap's with a fixed seed (Efron, 1979,
https://doi.org/10.1214/aos/1176344552). Performance is worse if a metric is below the evaluation's by more than
`max_drop`, and by more than chance explains in one case of 1,000; the evaluation's own rows are part of that chance.
Windows that follow each other share labels, so two of them running are hardly more evidence than one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.errors import ConfigError
from slipway.evaluation.chance import MIN_ROWS
from slipway.evaluation.focus import value_of
from slipway.evaluation.metric import BEST, how_much_worse, judged_metrics, ranking_metric, slice_metrics
from slipway.evaluation.metrics import ROW_VALUES, Groups, compute_metrics, invalid_predictions
from slipway.evaluation.paired import outranked
from slipway.evaluation.results import OVERALL, SliceResult, name_slice
from slipway.evaluation.slices import Slicing, slice_rows
from slipway.monitoring.decision import Signal
from slipway.monitoring.drift import ERROR_RATE
from slipway.monitoring.result import Score

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from slipway.evaluation.own import OwnMetric
    from slipway.module_api import Monitoring, Task, Threshold
    from slipway.monitoring.config import MonitorConfig

    Floats = NDArray[np.float64]

REPLICATES = 200
DRAWN = 10_000  # rows of a replicate; the error of more rows is scaled from them
SEED = 31
Z95 = NormalDist().inv_cdf(0.975)
Z_CHANCE = NormalDist().inv_cdf(1 - ERROR_RATE)


@dataclass(frozen=True)
class Labelled:
    """Requests with their labels, as the evaluation encodes them: `table` has the columns of the slices."""

    labels: NDArray[Any]
    predictions: NDArray[np.float32]
    table: pa.Table
    weights: Floats | None = None

    def take(self, chosen: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float32], Floats | None]:
        """Labels, predictions and weights of some rows."""
        return self.labels[chosen], self.predictions[chosen], None if self.weights is None else self.weights[chosen]


# A metric of all rows, of labels, predictions and weights.
Function = Callable[["NDArray[Any]", "NDArray[np.float32]", "Floats | None"], float]


def more_metrics(config: MonitorConfig, own: Mapping[str, OwnMetric]) -> dict[str, Function]:
    """The module's own metrics, and those of its thresholds that no task has: at a decision threshold, of one class."""

    def of_own(metric: OwnMetric) -> Function:
        def measure(labels: NDArray[Any], predictions: NDArray[np.float32], weights: Floats | None) -> float:
            heavy = np.ones(len(labels)) if weights is None else weights
            return metric.of_rows(labels, predictions, heavy)

        return measure

    found = {name: of_own(metric) for name, metric in own.items()}
    for one in config.thresholds:
        if one.name != one.metric:
            found[one.name] = partial(value_of, config, one)
    return found


def deciding_metric(task: Task, config: Monitoring, thresholds: Iterable[Threshold]) -> str:
    """The metric by which performance is judged.

    Raises:
        ConfigError: it is no metric of the task, or none of its directions is better.
    """
    judged = judged_metrics(task)
    if config.metric is None:
        return next((one.metric for one in thresholds if one.metric in judged), ranking_metric(task))
    if config.metric not in judged:
        raise ConfigError(
            f"monitoring.metric is {config.metric!r}, by which no {task} model is better; choose one of "
            f"{', '.join(judged)}"
        )
    return config.metric


def score(
    task: Task,
    rows: Labelled,
    slices: Iterable[Sequence[str]],
    evaluated: Sequence[SliceResult],
    more: Mapping[str, Function] = MappingProxyType({}),
) -> list[Score]:
    """All metrics overall, and those of a slice on each slice that the evaluation has, too, and `MIN_ROWS` labels.

    Where rows have weights, one of weight 2 counts as two alike.

    Args:
        task: Of the module.
        rows: With at least one row, and no invalid prediction.
        slices: Tuples of columns; those that the rows do not have are left out.
        evaluated: The evaluation's metrics, overall and by slice.
        more: Other metrics, of `more_metrics`; overall alone.
    """
    known = {_spelt(one.columns, one.values): one for one in evaluated}
    there = set(rows.table.column_names)
    slicings = slice_rows(rows.table, [(), *(tuple(one) for one in slices if there.issuperset(one))])
    found = compute_metrics(task, rows.labels, rows.predictions, slicings, rows.weights)
    errors = _bootstrap(task, rows, slicings)
    scores = []
    for slicing, metrics, spread in zip(slicings, found, errors, strict=True):
        for place, values in enumerate(slicing.values):
            chosen = slicing.codes == place
            its = known.get(_spelt(slicing.columns, values))
            name = its.name if its else name_slice(slicing.columns, values)
            if name != OVERALL and (its is None or chosen.sum() < MIN_ROWS):
                continue
            for metric in judged_metrics(task) if name == OVERALL else slice_metrics(task):
                value = float(metrics[metric][place])
                error = _error(task, metric, *rows.take(chosen))
                error = float(spread[metric][place]) if error is None else error
                seen, many = its.candidate.get(metric) if its else None, int(chosen.sum())
                scores.append(_score(name, metric, value, error, seen, many))
    for metric, function in more.items():
        value, problem = _tried(function, rows.labels, rows.predictions, rows.weights)
        error = math.inf if problem else _function_error(rows, function)
        seen = overall.candidate.get(metric) if (overall := known.get(_spelt((), ()))) else None
        one = _score(OVERALL, metric, value, error, seen, len(rows.labels))
        scores.append(one.model_copy(update={"problem": problem}))
    return scores


def _tried(
    function: Function, labels: NDArray[Any], predictions: NDArray[np.float32], weights: Floats | None
) -> tuple[float, str]:
    """A metric's value, or NaN and what is wrong: one of the module's own held on the evaluation rows, but fails here.

    A window's few labels may be all alike.
    """
    try:
        return function(labels, predictions, weights), ""
    except Exception as error:
        return math.nan, f"{type(error).__name__}: {error}"


def _spelt(columns: Iterable[str], values: Iterable[str | None]) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """A slice by its values, with 2 for 2.0: training may have floats where JSON has whole numbers."""
    return tuple(columns), tuple(value and re.sub(r"^(-?[0-9]+)\.0$", r"\1", value) for value in values)


def _score(where: str, metric: str, value: float, error: float, evaluated: float | None, labels: int) -> Score:
    is_known = math.isfinite(value + error)
    return Score(
        slice=where,
        metric=metric,
        value=value if math.isfinite(value) else None,
        interval=(value - Z95 * error, value + Z95 * error) if is_known else None,
        evaluated=evaluated,
        labels=labels,
    )


def performance_signal(
    metric: str, scores: Sequence[Score], evaluated: SliceResult, config: Monitoring, *, is_new: bool
) -> Signal:
    """Performance as the decision takes it: 1 where the drop is as large as allowed, or as chance explains.

    Labels that were judged in a window before (not `is_new`) are no further window, and say nothing.
    """
    one = next((one for one in scores if (one.slice, one.metric) == (OVERALL, metric)), None)
    if one is None or one.value is None or one.evaluated is None or one.interval is None:
        return Signal(cause="performance", level=0.0, enough=False)
    error = (one.interval[1] - one.value) / Z95
    reach = Z_CHANCE * error * math.sqrt(1 + one.labels / max(evaluated.examples, 1))
    drop = how_much_worse(BEST[metric], one.value, one.evaluated)
    bound = max(config.max_drop, reach)
    low, high = one.interval
    said = (
        f"{metric} {one.value:.4g} (95 % interval {low:.4g} to {high:.4g}, {one.labels:,} labels), "
        f"in the evaluation {one.evaluated:.4g}"
    )
    enough = is_new and one.labels >= config.min_labels
    return Signal(cause="performance", level=max(drop / bound, 0.0) if bound else 0.0, enough=enough, what=said)


def difference(ours: Score, theirs: Score) -> tuple[float, tuple[float, float]] | None:
    """How much worse one version is than another, on requests of its own each, with a 95 % interval.

    None without intervals, and for a metric of the module's own or at a threshold.
    """
    if (
        ours.metric not in BEST
        or ours.value is None
        or theirs.value is None
        or not ours.interval
        or not theirs.interval
    ):
        return None
    reach = math.hypot(*((one.interval[1] - one.interval[0]) / 2 for one in (ours, theirs) if one.interval))
    drop = how_much_worse(BEST[ours.metric], ours.value, theirs.value)
    return drop, (drop - reach, drop + reach)


def usable(task: Task, predictions: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the logged answers are predictions of this task."""
    return ~invalid_predictions(task, predictions)


def _error(
    task: Task, metric: str, labels: NDArray[Any], predictions: NDArray[np.float32], weights: Floats | None
) -> float | None:
    """The standard error of a metric for which it has a formula; None for others, infinite on too few rows."""
    whole = Groups(np.zeros(len(labels), np.int64), 1, weights)
    if of_row := ROW_VALUES.get(metric):
        enough = len(labels) >= MIN_ROWS
        return math.sqrt(float(whole.variance_of_mean(of_row(labels, predictions))[0])) if enough else math.inf
    if (task, metric) != ("binary", "auc"):
        return None
    positive = labels > 0
    if min(positive.sum(), (~positive).sum()) < 2:
        return math.inf
    classes = Groups(positive.astype(np.int64), 2, weights)
    return math.sqrt(float(classes.variance_of_mean(outranked(predictions, whole, classes)).sum()))


def _function_error(rows: Labelled, function: Function) -> float:
    """The bootstrap's standard error over all rows; infinite where the metric is often undefined."""
    random, size = np.random.default_rng(SEED), len(rows.labels)
    drawn = min(size, DRAWN)
    values = np.array([_tried(function, *rows.take(random.integers(size, size=drawn)))[0] for _ in range(REPLICATES)])
    known = values[np.isfinite(values)]
    if len(known) < 0.9 * REPLICATES:
        return math.inf
    return float(known.std(ddof=1)) * math.sqrt(drawn / size)


def _bootstrap(task: Task, rows: Labelled, slicings: Sequence[Slicing]) -> list[dict[str, Floats]]:
    """Standard errors of all metrics, by slice; infinite where a metric is often undefined."""
    random, size = np.random.default_rng(SEED), len(rows.labels)
    drawn = min(size, DRAWN)
    names = [name for name in judged_metrics(task) if BEST[name]]
    replicates: list[list[Floats]] = [[] for _ in slicings]
    for _ in range(REPLICATES):
        chosen = random.integers(size, size=drawn)
        again = [Slicing(one.columns, one.codes[chosen], one.values) for one in slicings]
        labels, predictions, weights = rows.take(chosen)
        measured = compute_metrics(task, labels, predictions, again, weights)
        for kept, metrics in zip(replicates, measured, strict=True):
            kept.append(np.stack([metrics[name] for name in names]))
    errors = []
    for kept in replicates:
        values = np.stack(kept)
        known = np.isfinite(values).mean(axis=0) >= 0.9
        values[:, ~known] = 0
        spread = np.where(known, np.nanstd(values, axis=0, ddof=1), np.inf) * math.sqrt(drawn / size)
        errors.append(dict(zip(names, spread, strict=True)))
    return errors
