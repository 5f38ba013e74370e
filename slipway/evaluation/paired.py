"""How much worse one model is than another on the same rows, by slice, and how far chance reaches.

The standard error of the difference:

- AUC, binary: DeLong's test for correlated curves (1988, https://doi.org/10.2307/2531595), that is the variance of the
  difference of the shares of the other class that each row outranks.
- Means over rows (accuracy, log loss, absolute and squared error): that of the mean of paired differences (Student,
  1908, https://doi.org/10.1093/biomet/6.1.1).
- Any other metric, the module's own among them: the paired bootstrap (Efron, 1979,
  https://doi.org/10.1214/aos/1176344552), rows drawn within each slice with a fixed seed. Of large slices fewer rows
  are drawn, and the error is scaled to all of them (m out of n; Bickel, Götze and van Zwet, 1997,
  https://www3.stat.sinica.edu.tw/statistica/oldpdf/A7n11.pdf).

One-sided 95 % bounds use Student's quantile. Fewer than `MIN_ROWS` rows have no bound, unless both models answer alike.

Where rows have weights, metrics and means are weighted, a row that is drawn brings its weight, and a row stays one row:
DeLong's variance is that of weighted means, and rows are counted as Kish's effective number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.chance import MIN_ROWS, Z_POWER, Z, midranks, students_quantile
from slipway.evaluation.metric import BASELINE, BEST, CANDIDATE, how_much_worse
from slipway.evaluation.metrics import ROW_VALUES, Groups, compute_metrics, invalid_predictions
from slipway.evaluation.own import OwnMetric
from slipway.evaluation.results import PRODUCTION
from slipway.evaluation.slices import Slicing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slipway.evaluation.metric import Best
    from slipway.evaluation.slices import Measured, MetricTable
    from slipway.module_api import Task

    Floats = NDArray[np.float64]
    Predictions = NDArray[np.float32]

Judged = str | OwnMetric  # a metric of the task, or one of the module's own

REPLICATES = 200  # the standard error of a standard error is then 5 % of it
DRAWN = 10_000  # rows of a replicate, shared by the slices; each slice gives 500 at least, or all of its rows
SEED = 31


@dataclass(frozen=True)
class Rival:
    """A model that the candidate is compared with, slice by slice: its metric, and the candidate's drop from it.

    The one-sided 95 % bounds of the drop are `drop - reach` and `drop + reach`. Where `values` is NaN there is nothing
    to compare; `names` tells which model it is on each slice.
    """

    names: list[str]
    values: Floats
    drop: Floats
    reach: Floats

    def only(self, chosen: NDArray[np.bool_]) -> Rival:
        """The comparison on some slices."""
        names = list(compress(self.names, chosen))
        return Rival(names, self.values[chosen], self.drop[chosen], self.reach[chosen])

    def margins(self, max_drop: float) -> Floats:
        """Negative where the drop is above `max_drop` by more than chance, or may be twice as large.

        With `max_drop` 0 there is no room between these two: what is measured decides.
        """
        if not max_drop:
            return -self.drop
        return np.minimum(max_drop - (self.drop - self.reach), 2 * max_drop - (self.drop + self.reach))

    def rows_wanted(self, index: int, max_drop: float, rows: int) -> int | None:
        """The rows that would decide in 80 % of cases if the drop is as measured; None where these rows decide."""
        drop, reach = float(self.drop[index]), float(self.reach[index])
        if drop - reach > max_drop:
            return None
        if rows < MIN_ROWS or not math.isfinite(reach):
            return max(MIN_ROWS, 2 * rows)
        error, gap = reach / float(students_quantile(np.array(rows))), max(2 * max_drop - drop, drop - max_drop)
        return max(rows + 1, math.ceil(rows * ((Z + Z_POWER) * error / gap) ** 2))


def compare_production(task: Task, metric: Judged, table: MetricTable, measured: Measured) -> Rival:
    """The production model on every slice of a table."""
    assert table.baseline is not None
    places, name = table.places(measured.slicing(table.columns)), str(metric)
    drop = how_much_worse(_best(metric), table.candidate[name], table.baseline[name])
    reach = _reach(task, metric, measured, BASELINE, table.columns)[places]
    # The engine may have kept a sample of the rows; the metrics are those of all.
    rows = np.append(np.bincount(measured.slicing(table.columns).codes), 0)[places]
    reach = np.where(rows, reach * np.sqrt(rows / table.examples), np.inf)
    return Rival([PRODUCTION] * len(table.values), table.baseline[name], drop, reach)


def compare_best_served(task: Task, metric: Judged, table: MetricTable, measured: Measured) -> Rival | None:
    """On every slice the best version that served before; values are NaN where none is better than production."""
    slicing, names = measured.slicing(table.columns), comparable(task, measured)
    if not names or BASELINE not in measured.answers:
        return None
    found = {
        name: _measure(task, metric, measured.labels, measured.answers[name], slicing, measured.weights)
        for name in (CANDIDATE, BASELINE, *names)
    }
    ours, production = found[CANDIDATE], found[BASELINE]
    worse = np.stack([how_much_worse(_best(metric), ours, found[name]) for name in names])
    best = np.where(np.isnan(worse), -np.inf, worse).argmax(axis=0)
    slices = np.arange(len(best))
    drop, values = worse[best, slices], np.stack([found[name] for name in names])[best, slices]
    better = drop > how_much_worse(_best(metric), ours, production)
    reach = np.full(len(best), np.inf)
    for index in np.unique(best[better]):
        chosen = better & (best == index)
        reach[chosen] = _reach(task, metric, measured, names[index], table.columns)[:-1][chosen]
    places = table.places(slicing)

    def in_table(array: Floats) -> Floats:
        return np.append(np.where(better, array, np.nan), np.nan)[places]

    return Rival([names[index] for index in np.append(best, 0)[places]], *map(in_table, (values, drop, reach)))


def comparable(task: Task, measured: Measured) -> list[str]:
    """The versions that served before and answered every row."""
    served = [name for name in measured.answers if name not in (CANDIDATE, BASELINE)]
    return [name for name in served if not invalid_predictions(task, measured.answers[name]).any()]


def outranked(scores: NDArray[Any], slices: Groups, classes: Groups) -> Floats:
    """The share of the other class, in its slice, that each row outranks; ties count by half.

    `classes` are twice as many as `slices`: negatives and positives of each.
    """
    all_ranks, within = (midranks(scores, each.codes, each.weights) for each in (slices, classes))
    with np.errstate(invalid="ignore"):  # a slice of one class has no AUC
        return np.asarray((all_ranks - within) / classes.count[classes.codes ^ 1])


def standard_errors(
    task: Task,
    metric: Judged,
    labels: NDArray[Any],
    ours: Predictions,
    theirs: Predictions,
    slicing: Slicing,
    weights: Floats | None = None,
) -> Floats:
    """The standard error of the difference of a metric of two models, for each slice; infinite where unknown."""
    groups = Groups(slicing.codes, len(slicing.values), weights)
    if isinstance(metric, str) and (of_row := ROW_VALUES.get(metric)):
        return np.asarray(np.sqrt(groups.variance_of_mean(of_row(labels, ours) - of_row(labels, theirs))))
    if task == "binary" and metric == "auc":
        by_class = Groups(slicing.codes * 2 + (labels > 0), groups.size * 2, groups.weights)
        moved = outranked(ours, groups, by_class) - outranked(theirs, groups, by_class)
        return np.asarray(np.sqrt(by_class.variance_of_mean(moved).reshape(-1, 2).sum(axis=1)))
    return _bootstrap(task, metric, labels, ours, theirs, slicing, weights)


def _bootstrap(
    task: Task,
    metric: Judged,
    labels: NDArray[Any],
    ours: Predictions,
    theirs: Predictions,
    slicing: Slicing,
    weights: Floats | None,
) -> Floats:
    random = np.random.default_rng(SEED)
    sizes = np.bincount(slicing.codes, minlength=len(slicing.values))
    drawn = np.minimum(sizes, max(500, DRAWN // len(sizes)))
    codes = np.repeat(np.arange(len(sizes)), drawn)
    by_slice, firsts = np.argsort(slicing.codes, kind="stable"), (np.cumsum(sizes) - sizes)[codes]
    drops = np.empty((REPLICATES, len(sizes)))
    for replicate in range(REPLICATES):
        rows = by_slice[firsts + (random.random(len(codes)) * sizes[codes]).astype(np.int64)]
        again = Slicing(slicing.columns, codes, slicing.values)
        heavy = None if weights is None else weights[rows]
        one, other = (_measure(task, metric, labels[rows], each[rows], again, heavy) for each in (ours, theirs))
        drops[replicate] = how_much_worse(_best(metric), one, other)
    known = np.isfinite(drops).mean(axis=0) >= 0.9
    drops[:, ~known] = 0
    spread = np.nanstd(drops, axis=0, ddof=1) * np.sqrt(drawn / np.maximum(sizes, 1))
    return np.asarray(np.where(known, spread, np.inf))


def _best(metric: Judged) -> Best | None:
    return BEST[metric] if isinstance(metric, str) else metric.better


def _measure(
    task: Task, metric: Judged, labels: NDArray[Any], answers: Predictions, slicing: Slicing, weights: Floats | None
) -> Floats:
    if isinstance(metric, OwnMetric):
        return metric.measure(task, labels, answers, slicing, weights)
    return compute_metrics(task, labels, answers, [slicing], weights)[0][metric]


def _reach(task: Task, metric: Judged, measured: Measured, rival: str, columns: tuple[str, ...]) -> Floats:
    """How far the bounds lie from the drop on each slice of the rows that were kept; an infinite one at the end."""
    slicing, ours, theirs = measured.slicing(columns), measured.answers[CANDIDATE], measured.answers[rival]
    groups = Groups(slicing.codes, len(slicing.values), measured.weights)
    rows = groups.effective_rows
    errors = standard_errors(task, metric, measured.labels, ours, theirs, slicing, measured.weights)
    reach = np.where(rows < MIN_ROWS, np.inf, students_quantile(np.maximum(rows, MIN_ROWS)) * errors)
    differ = (ours != theirs).reshape(len(ours), -1).any(axis=1)
    return np.append(np.where(groups.sum(differ) > 0, reach, 0), np.inf)
