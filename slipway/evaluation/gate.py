"""The gate: from metrics to a verdict.

- A bound is inclusive: equal to `min` or `max` passes, and a candidate equal to production passes `max_drop: 0`.
- A prediction that is not finite, or not a probability, refuses the model whatever the thresholds say.
- So does a candidate that does not beat the constant model by more than chance (`slipway.evaluation.chance`).
- An undefined metric refuses overall. On a slice it refuses if the model is the cause; if the slice's labels are
  (AUC where they are all alike), that slice is not checked.
- A slice below `min_examples` is not checked. A threshold that could be checked on no slice refuses, so that it never
  passes unchecked.
- `max_drop` is not checked without a production model; with one that cannot be scored it refuses.
- A module without thresholds is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slipway.evaluation.chance import check_beats_constant
from slipway.evaluation.curves import trace_curves
from slipway.evaluation.metric import BASELINE, CANDIDATE, how_much_worse, ranking_metric
from slipway.evaluation.results import OVERALL, Check, Evaluation, Outcome, Rule, Verdict
from slipway.evaluation.slices import list_slices, worst_slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slipway.evaluation.config import EvaluationConfig
    from slipway.evaluation.slices import Measured, MetricTable
    from slipway.module_api import Threshold

RULES: tuple[Rule, ...] = ("min", "max", "max_drop")  # the bounds of a threshold
TOLERANCE = 1e-9  # of max_drop: 0.95 - 0.94 is a little more than 0.01 in floating point
LISTED = 20  # failed slices of one threshold that are listed


def evaluate(config: EvaluationConfig, measured: Measured, baseline_uri: str) -> Evaluation:
    """The verdict, with metrics, slices and curves."""
    task, tables, labels = config.task, measured.tables, measured.labels
    overall = tables[0].row(0)
    listed, left_out = list_slices(task, tables[1:])
    beats_constant = check_beats_constant(task, labels, measured.answers[CANDIDATE], overall.candidate)
    curves = {name: trace_curves(task, labels, one, config.class_names) for name, one in measured.answers.items()}
    return Evaluation(
        task=task,
        label=config.label.column,
        classes=list(config.class_names),
        engine=config.engine,
        examples=overall.examples,
        unlabelled=measured.unlabelled,
        baseline_uri=baseline_uri or None,
        baseline_problem=measured.baseline_problem,
        verdict=judge(config, measured, beats_constant),
        overall=overall,
        slices=listed,
        left_out=left_out,
        worst=worst_slices(task, tables[1:]),
        worst_metric=ranking_metric(task),
        curve_examples=len(labels) if measured.sampled else None,
        curves=curves[CANDIDATE],
        baseline_curves=curves.get(BASELINE),
    )


def judge(config: EvaluationConfig, measured: Measured, beats_constant: Check) -> Verdict:
    """Applies every threshold to the table of its columns."""
    by_columns = {table.columns: table for table in measured.tables}
    checks = [beats_constant]
    if invalid := measured.invalid[CANDIDATE]:
        note = f"{invalid:,} of {by_columns[()].examples[0]:,} are NaN, infinite or not a probability"
        checks = [Check(metric="predictions", rule="valid_predictions", outcome="failed", note=note)]
    if not config.thresholds:
        note = "there are none, so nothing was checked; add thresholds to module.yaml"
        checks.append(Check(metric="thresholds", rule="present", outcome="failed", note=note))
    for threshold in config.thresholds:
        for rule in RULES:
            bound = getattr(threshold, rule)
            if bound is not None:
                checks += _Judgement(threshold, rule, bound, by_columns[threshold.slice], measured).checks()
    order = {"failed": 0, "passed": 1, "not_checked": 2}
    checks.sort(key=lambda check: order[check.outcome])
    return Verdict(blessed=all(check.outcome != "failed" for check in checks), checks=checks)


@dataclass(frozen=True)
class _Judgement:
    """One bound of one threshold, on one table."""

    threshold: Threshold
    rule: Rule
    bound: float
    table: MetricTable
    measured: Measured

    def checks(self) -> list[Check]:
        if self.rule == "max_drop":
            if self.measured.baseline_problem:
                return [self._check("failed", f"production cannot be scored: {self.measured.baseline_problem}")]
            if self.table.baseline is None:
                return [self._check("not_checked", "no other model is in production")]
            if invalid := self.measured.invalid.get(BASELINE):
                note = f"{invalid:,} predictions of production are NaN or no probability"
                return [self._check("failed", f"{note}; roll it back first, or leave max_drop out")]
        return self._slices() if self.threshold.slice else [self._overall()]

    def _overall(self) -> Check:
        value, margin = self._values[0], self._margins[0]
        if np.isnan(value):
            alike = self.table.candidate.get("mean_label", np.full(1, np.nan))[0] in (0, 1)
            why = ": all of its labels are alike" if alike else ""
            return self._check("failed", f"undefined on the evaluation split{why}", 0)
        if np.isnan(margin):
            return self._check("failed", "production's is undefined on the evaluation split", 0)
        return self._check("passed" if margin >= 0 else "failed", "", 0)

    def _slices(self) -> list[Check]:
        """One check for each failed slice, and a summary of the others."""
        margins, sizes, least = self._margins, self.table.examples, self.threshold.min_examples
        large = sizes >= least
        failed = np.flatnonzero(large & ((margins < 0) | self._spoilt))
        passed = np.flatnonzero(large & (margins >= 0))
        checks = []
        for index in failed[np.argsort(margins[failed], kind="stable")][:LISTED]:
            note = "undefined because of the model's predictions" if self._spoilt[index] else ""
            checks.append(self._check("failed", note, int(index)))
        if len(failed) > LISTED:
            checks.append(self._check("failed", f"{_slices(len(failed) - LISTED)} more, less bad than these"))
        left = []
        if small := int((~large).sum()):
            known = "" if large.any() else f" (the largest has {sizes.max():,})"
            left.append(f"fewer than {least:,} examples on {small:,} of {_slices(len(sizes))}{known}")
        if undefined := int((large & np.isnan(margins) & ~self._spoilt).sum()):
            why = "because of the labels there, or of production's predictions"
            left.append(f"undefined on {_slices(undefined)}, {why}")
        if len(passed):
            tightest = self._check("passed", "", int(passed[np.argmin(margins[passed])]))
            note = f"on {_slices(len(passed))}; the tightest: {tightest.describe()}"
            summary = {"value": tightest.value, "baseline": tightest.baseline}
            checks.append(self._check("passed", note).model_copy(update=summary))
            checks += [self._check("not_checked", "; ".join(left))] if left else []
        elif not len(failed):
            checks.append(self._check("failed", f"no slice could be checked: {'; '.join(left) or 'there is none'}"))
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
        assert self.table.baseline is not None
        worse = how_much_worse(self.threshold.metric, self._values, self.table.baseline[self.threshold.metric])
        return self.bound + TOLERANCE - worse

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

    def _check(self, outcome: Outcome, note: str, index: int | None = None) -> Check:
        """A check of one slice, or of all."""
        metric, columns = self.threshold.metric, list(self.threshold.slice)
        where = f"each {' x '.join(columns)}" if columns else OVERALL
        check = Check(metric=metric, slice=where, columns=columns, rule=self.rule, bound=self.bound,
                      outcome=outcome, note=note)  # fmt: skip
        if index is None:
            return check
        row = self.table.row(index)
        found = {"slice": row.name, "values": row.values, "value": row.candidate.get(metric), "examples": row.examples}
        if self.rule == "max_drop":
            found["baseline"] = (row.baseline or {}).get(metric)
        return check.model_copy(update=found)


def _slices(count: int) -> str:
    return "1 slice" if count == 1 else f"{count:,} slices"
