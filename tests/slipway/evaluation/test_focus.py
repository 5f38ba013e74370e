"""Thresholds at a decision threshold, at a precision, and of one class."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.metrics import f1_score, precision_recall_curve, precision_score, recall_score, roc_auc_score

from slipway.evaluation.config import EvaluationConfig
from slipway.evaluation.focus import focus, lowest_score
from slipway.evaluation.gate import judge
from slipway.evaluation.metric import BASELINE, CANDIDATE
from slipway.evaluation.metrics import compute_metrics
from slipway.evaluation.results import Check, Verdict
from slipway.evaluation.slices import Measured, MetricTable, Slicing
from slipway.module_api import Task

ROWS = 600
RANDOM = np.random.default_rng(51)
SIGNAL = RANDOM.normal(size=ROWS)
LABELS = (SIGNAL + RANDOM.normal(size=ROWS) > 0.5).astype(np.int64)
SCORES = np.round(1 / (1 + np.exp(-SIGNAL)), 2).astype(np.float32)  # rounded: with ties
CLASSES = np.digitize(SIGNAL + RANDOM.normal(size=ROWS), [-0.5, 0.8])
SHARES = RANDOM.dirichlet(np.ones(3), ROWS).astype(np.float32) * 0.5 + np.eye(3, dtype=np.float32)[CLASSES] * 0.5
GROUP = np.arange(ROWS) % 2


def config(task: Task, *thresholds: dict[str, Any]) -> EvaluationConfig:
    return EvaluationConfig.model_validate(
        {"task": task, "label": {"column": "y"}, "classes": ["a", "b", "c"] if task == "multiclass" else [],
         "thresholds": thresholds}
    )  # fmt: skip


def measure(task: Task, labels: NDArray[Any], **answers: NDArray[np.float32]) -> Measured:
    slicings = [
        Slicing((), np.zeros(ROWS, np.int64), [()]),
        Slicing(("group",), GROUP.astype(np.int64), [("even",), ("odd",)]),
    ]
    found = {name: compute_metrics(task, labels, one, slicings) for name, one in answers.items()}
    tables = [
        MetricTable(
            one.columns,
            one.values,
            np.bincount(one.codes),
            found[CANDIDATE][index],
            found[BASELINE][index] if BASELINE in found else None,
        )
        for index, one in enumerate(slicings)
    ]
    return Measured(tables, labels, dict(answers), slicings, {CANDIDATE: 0})


def value(task: Task, threshold: dict[str, Any], measured: Measured) -> float:
    made = config(task, {**threshold, "min": 0})
    return float(focus(made, made.thresholds[0], measured).tables[0].candidate[threshold["metric"]][0])


def run(task: Task, measured: Measured, *thresholds: dict[str, Any]) -> Verdict:
    return judge(config(task, *thresholds), measured, Check(metric="auc", rule="beats_constant", outcome="passed"))


@pytest.mark.parametrize(
    ("metric", "score"), [("recall", recall_score), ("precision", precision_score), ("f1", f1_score)]
)
def test_focus_at_a_decision_is_scikit_learns_metric(metric: str, score: Any) -> None:
    found = value("binary", {"metric": metric, "decision": 0.3}, measure("binary", LABELS, candidate=SCORES))
    assert found == pytest.approx(score(LABELS, SCORES > 0.3))


@pytest.mark.parametrize("precision", [0.5, 0.7, 0.9])
def test_focus_recall_at_a_precision_is_the_largest_that_scikit_learns_curve_has(precision: float) -> None:
    threshold = {"metric": "recall", "at_precision": precision}
    reached, recalls, _ = precision_recall_curve(LABELS, SCORES)
    found = value("binary", threshold, measure("binary", LABELS, candidate=SCORES))
    assert found == pytest.approx(recalls[reached >= precision].max())


def test_focus_precision_that_no_score_reaches_has_recall_zero() -> None:
    backwards = (1 - SCORES).astype(np.float32)
    threshold = {"metric": "recall", "at_precision": 0.99}
    assert value("binary", threshold, measure("binary", LABELS, candidate=backwards)) == 0
    assert lowest_score(np.array([]), np.array([]), 0.5) == float("inf")


def test_focus_of_a_class_is_scikit_learns_metric_of_that_class() -> None:
    measured = measure("multiclass", CLASSES, candidate=SHARES)
    best = SHARES.argmax(axis=1)
    for index, name in enumerate("abc"):
        alone = np.equal(CLASSES, index)
        recall = value("multiclass", {"metric": "recall", "of_class": name}, measured)
        assert recall == pytest.approx(recall_score(alone, best == index))
        auc = value("multiclass", {"metric": "auc", "of_class": name}, measured)
        assert auc == pytest.approx(roc_auc_score(alone, SHARES[:, index]))
        decided = value("multiclass", {"metric": "precision", "of_class": name, "decision": 0.3}, measured)
        assert decided == pytest.approx(precision_score(alone, SHARES[:, index] > 0.3))


def test_macro_f1_is_scikit_learns() -> None:
    (metrics,) = compute_metrics("multiclass", CLASSES, SHARES, [Slicing((), np.zeros(ROWS, np.int64), [()])])
    assert metrics["macro_f1"][0] == pytest.approx(f1_score(CLASSES, SHARES.argmax(axis=1), average="macro"))


def test_judge_focused_threshold_is_named_and_holds_on_slices_and_against_production() -> None:
    blind = np.where(GROUP == 1, np.float32(0.29), SCORES).astype(np.float32)
    measured = measure("binary", LABELS, candidate=blind, baseline=SCORES)
    threshold = {"metric": "recall", "decision": 0.3, "min": 0.5, "max_drop": 0.1, "slice": ["group"]}
    failed = [check for check in run("binary", measured, threshold).checks if check.outcome == "failed"]
    assert {(check.rule, check.slice) for check in failed} == {("min", "group=odd"), ("max_drop", "group=odd")}
    assert all("recall at decision 0.3" in check.describe() for check in failed)
    assert run("binary", measure("binary", LABELS, candidate=SCORES, baseline=SCORES), threshold).blessed


def test_judge_invalid_predictions_leave_a_focused_metric_undefined() -> None:
    spoilt = np.where(np.arange(ROWS) == 3, np.nan, SCORES).astype(np.float32)
    verdict = run("binary", measure("binary", LABELS, candidate=spoilt), {"metric": "f1", "decision": 0.3, "min": 0.1})
    assert "undefined" in " ".join(verdict.reasons())


@pytest.mark.parametrize(
    ("task", "threshold", "said"),
    [
        ("binary", {"metric": "auc", "decision": 0.3}, "does not depend on a decision.*recall"),
        ("binary", {"metric": "f1", "at_precision": 0.9}, "at_precision is for recall"),
        ("binary", {"metric": "recall", "at_precision": 0.9, "decision": 0.5}, "exclude each other"),
        ("binary", {"metric": "recall", "of_class": "true"}, "of_class is for multiclass modules"),
        ("multiclass", {"metric": "recall", "of_class": "d"}, "no class 'd'; choose one of a, b, c"),
        ("multiclass", {"metric": "accuracy", "decision": 0.3}, "name a class: of_class"),
        ("multiclass", {"metric": "recall"}, "choose one of accuracy"),
        ("regression", {"metric": "r_squared", "decision": 0.3}, "regression module has no decision threshold"),
        ("binary", {"metric": "recall", "decision": 1.0}, "less than 1"),
    ],
)
def test_config_focus_that_does_not_fit_is_refused(task: Task, threshold: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(task, {**threshold, "min": 0.1})
