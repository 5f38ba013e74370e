"""The gate: from metrics to a verdict.

- A bound is inclusive: equal to `min` or `max` passes, and a candidate equal to production passes `max_drop: 0`.
- A prediction that is not finite, or not a probability, refuses the model whatever the thresholds say.
- So does a candidate that does not beat the constant model by more than chance (`slipway.evaluation.chance`).
- An undefined metric refuses overall. On a slice it refuses if the model is the cause; if the slice's labels are
  (AUC where they are all alike), that slice is not checked.
- A slice below `min_examples` is not checked. A threshold that could be checked on no slice refuses, so that it never
  passes unchecked.
- `max_drop` refuses a drop that is above it by more than chance, and one that may be twice as large: the one-sided
  95 % bounds of the drop on the same rows decide (`slipway.evaluation.paired`). `max_drop: 0` goes by what is measured.
- It holds against production and, so that quality does not slide push by push, against the best of the last versions
  that served, on every slice. Those that cannot be scored are named and left out.
- `max_drop` is not checked without a production model; with one that cannot be scored it refuses.
- A module without thresholds is refused.
- A module's own metric is judged like any other.
- A metric that is nearly perfect is named (`slipway.evaluation.plausible`); it refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.chance import check_beats_constant
from slipway.evaluation.curves import trace_curves
from slipway.evaluation.focus import focus
from slipway.evaluation.metric import BASELINE, CANDIDATE, ranking_metric
from slipway.evaluation.own import with_own
from slipway.evaluation.paired import comparable, compare_best_served, compare_production
from slipway.evaluation.plausible import check_plausible
from slipway.evaluation.results import OVERALL, Check, Evaluation, Outcome, Rule, Verdict
from slipway.evaluation.slices import list_slices, worst_slices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from slipway.evaluation.config import EvaluationConfig
    from slipway.evaluation.own import OwnMetric
    from slipway.evaluation.paired import Judged, Rival
    from slipway.evaluation.slices import Measured, MetricTable
    from slipway.module_api import Task, Threshold

RULES: tuple[Rule, ...] = ("min", "max", "max_drop")  # the bounds of a threshold
TOLERANCE = 1e-9  # of max_drop: 0.95 - 0.94 is a little more than 0.01 in floating point
LISTED = 20  # failed slices of one threshold that are listed


def evaluate(
    config: EvaluationConfig, measured: Measured, baseline_uri: str, own: Mapping[str, OwnMetric] | None = None
) -> Evaluation:
    """The verdict, with metrics, slices and curves; `own` are the module's own metrics."""
    measured = with_own(config.task, measured, own or {})
    task, tables, labels, weights = config.task, measured.tables, measured.labels, measured.weights
    overall = tables[0].row(0)
    listed, left_out = list_slices(task, tables[1:])
    beats_constant = check_beats_constant(task, labels, measured.answers[CANDIDATE], overall.candidate, weights)
    curves = {
        name: trace_curves(task, labels, measured.answers[name], config.class_names, weights)
        for name in (CANDIDATE, BASELINE)
        if name in measured.answers
    }
    return Evaluation(
        task=task,
        label=config.label.column,
        classes=list(config.class_names),
        engine=config.engine,
        weight=config.label.weight,
        own=config.metrics,
        examples=overall.examples,
        unlabelled=measured.unlabelled,
        baseline_uri=baseline_uri or None,
        baseline_problem=measured.problems.get(BASELINE),
        verdict=judge(config, measured, beats_constant, own),
        overall=overall,
        slices=listed,
        left_out=left_out,
        worst=worst_slices(task, tables[1:]),
        worst_metric=ranking_metric(task),
        curve_examples=len(labels) if measured.sampled else None,
        curves=curves[CANDIDATE],
        baseline_curves=curves.get(BASELINE),
    )


def judge(
    config: EvaluationConfig, measured: Measured, beats_constant: Check, own: Mapping[str, OwnMetric] | None = None
) -> Verdict:
    """Applies every threshold to the table of its columns."""
    by_columns = {table.columns: table for table in measured.tables}
    overall = by_columns[()].row(0)
    checks = [beats_constant, *check_plausible(config.task, overall.candidate, overall.examples)]
    if invalid := measured.invalid[CANDIDATE]:
        note = f"{invalid:,} of {by_columns[()].examples[0]:,} are NaN, infinite or not a probability"
        checks = [Check(metric="predictions", rule="valid_predictions", outcome="failed", note=note)]
    if not config.thresholds:
        note = "there are none, so nothing was checked; add thresholds to module.yaml"
        checks.append(Check(metric="thresholds", rule="present", outcome="failed", note=note))
    for threshold in config.thresholds:
        task, seen, table = config.task, measured, by_columns[threshold.slice]
        if threshold.name != threshold.metric:
            task, seen = "binary", focus(config, threshold, measured)
            table = seen.tables[0]
        for rule in RULES:
            bound = getattr(threshold, rule)
            if bound is None:
                continue
            if rule == "max_drop":
                metric = (own or {}).get(threshold.metric, threshold.metric)
                checks += _judge_drop(task, metric, threshold, bound, table, seen)
            else:
                checks += _Judgement(threshold, rule, bound, table).checks()
    checks += _left_out(config, measured)
    order = {"failed": 0, "passed": 1, "not_checked": 2}
    checks.sort(key=lambda check: order[check.outcome])
    return Verdict(blessed=all(check.outcome != "failed" for check in checks), checks=checks)


def _judge_drop(
    task: Task, metric: Judged, threshold: Threshold, bound: float, table: MetricTable, measured: Measured
) -> list[Check]:
    """Compares with production, and with the best version that served before where that is better."""
    plain = _Judgement(threshold, "max_drop", bound, table)
    if problem := measured.problems.get(BASELINE):
        return [plain.check("failed", f"production cannot be scored: {problem}")]
    if table.baseline is None:
        return [plain.check("not_checked", "no other model is in production")]
    if invalid := measured.invalid.get(BASELINE):
        note = f"{invalid:,} predictions of production are NaN or no probability"
        return [plain.check("failed", f"{note}; roll it back first, or leave max_drop out")]
    checks = replace(plain, rival=compare_production(task, metric, table, measured)).checks()
    best = compare_best_served(task, metric, table, measured)
    if best is not None:
        counts = np.isfinite(best.values) & (table.examples >= (threshold.min_examples if threshold.slice else 0))
        if counts.any():
            checks += replace(plain, rival=best.only(counts), table=table.only(counts)).checks()
    return checks


def _left_out(config: EvaluationConfig, measured: Measured) -> list[Check]:
    """The versions that served before and cannot be compared with, as a check that was not done."""
    why = {name: problem for name, problem in measured.problems.items() if name != BASELINE}
    scored = measured.answers.keys() - {CANDIDATE, BASELINE, *comparable(config.task, measured)}
    why |= dict.fromkeys(sorted(scored), "its predictions are NaN or no probability")
    if not why or all(threshold.max_drop is None for threshold in config.thresholds):
        return []
    note = "; ".join(f"{name} served before, but {problem}" for name, problem in why.items())
    return [Check(metric="max_drop", rule="max_drop", outcome="not_checked", note=note)]


@dataclass(frozen=True)
class _Judgement:
    """One bound of one threshold, on one table; `rival` is the model that `max_drop` compares with."""

    threshold: Threshold
    rule: Rule
    bound: float
    table: MetricTable
    rival: Rival | None = None

    def checks(self) -> list[Check]:
        return self._slices() if self.threshold.slice else [self._overall()]

    def _overall(self) -> Check:
        value, margin = self._values[0], self._margins[0]
        if np.isnan(value):
            alike = self.table.candidate.get("mean_label", np.full(1, np.nan))[0] in (0, 1)
            why = ": all of its labels are alike" if alike else ""
            return self.check("failed", f"undefined on the evaluation split{why}", 0)
        if np.isnan(margin):
            return self.check("failed", "production's is undefined on the evaluation split", 0)
        return self.check("passed" if margin >= 0 else "failed", "", 0)

    def _slices(self) -> list[Check]:
        """One check for each failed slice, and a summary of the others."""
        margins, sizes, least = self._margins, self.table.examples, self.threshold.min_examples
        large = sizes >= least
        failed = np.flatnonzero(large & ((margins < 0) | self._spoilt))
        passed = np.flatnonzero(large & (margins >= 0))
        checks = []
        for index in failed[np.argsort(margins[failed], kind="stable")][:LISTED]:
            note = "undefined because of the model's predictions" if self._spoilt[index] else ""
            checks.append(self.check("failed", note, int(index)))
        if len(failed) > LISTED:
            checks.append(self.check("failed", f"{_slices(len(failed) - LISTED)} more, less bad than these"))
        left = []
        if small := int((~large).sum()):
            known = "" if large.any() else f" (the largest has {sizes.max():,})"
            left.append(f"fewer than {least:,} examples on {small:,} of {_slices(len(sizes))}{known}")
        if undefined := int((large & np.isnan(margins) & ~self._spoilt).sum()):
            why = "because of the labels there, or of production's predictions"
            left.append(f"undefined on {_slices(undefined)}, {why}")
        if len(passed):
            tightest = self.check("passed", "", int(passed[np.argmin(margins[passed])]))
            note = f"on {_slices(len(passed))}; the tightest: {tightest.describe()}"
            where = self.check("passed", note)
            summary = {"slice": where.slice, "values": None, "examples": 0, "note": note}
            checks.append(tightest.model_copy(update=summary))
            checks += [self.check("not_checked", "; ".join(left))] if left else []
        elif not len(failed):
            checks.append(self.check("failed", f"no slice could be checked: {'; '.join(left) or 'there is none'}"))
        return checks

    @property
    def _values(self) -> NDArray[np.float64]:
        return self.table.candidate[self.threshold.metric]

    @property
    def _margins(self) -> NDArray[np.float64]:
        """The distance of each slice to the bound: negative where it is broken, NaN where undefined."""
        if self.rule == "min":
            return self._values - self.bound
        if self.rule == "max":
            return self.bound - self._values
        assert self.rival is not None
        return self.rival.margins(self.bound) + TOLERANCE

    @property
    def _spoilt(self) -> NDArray[np.bool_]:
        """Slices on which the candidate makes the metric undefined: a prediction is invalid, or none is positive."""
        undefined = np.isnan(self._values)
        metrics = self.table.candidate
        loss = metrics["log_loss"] if "log_loss" in metrics else metrics["mean_squared_error"]
        caused = np.isnan(loss)
        if self.threshold.metric == "precision":
            caused = caused | (metrics["mean_label"] > 0)
        return np.asarray(undefined & caused)

    def check(self, outcome: Outcome, note: str, index: int | None = None) -> Check:
        """A check of one slice, or of all."""
        metric, columns = self.threshold.metric, list(self.threshold.slice)
        where = f"each {' x '.join(columns)}" if columns else OVERALL
        check = Check(metric=self.threshold.name, slice=where, columns=columns, rule=self.rule, bound=self.bound,
                      outcome=outcome, note=note)  # fmt: skip
        if index is None:
            return check
        row = self.table.row(index)
        found: dict[str, Any] = {
            "slice": row.name,
            "values": row.values,
            "value": row.candidate.get(metric),
            "examples": row.examples,
        }
        if self.rival is not None and np.isfinite(self.rival.drop[index]):
            rival, drop, reach = self.rival, float(self.rival.drop[index]), float(self.rival.reach[index])
            found |= {"baseline": float(rival.values[index]), "against": rival.names[index], "drop": drop}
            if np.isfinite(reach):
                found["interval"] = drop - reach, drop + reach
            if outcome == "failed":
                found["rows_wanted"] = rival.rows_wanted(index, self.bound, row.examples)
        return check.model_copy(update=found)


def _slices(count: int) -> str:
    return "1 slice" if count == 1 else f"{count:,} slices"
