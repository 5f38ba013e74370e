import math
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import ValidationError

from slipway.evaluation.config import EvaluationConfig
from slipway.evaluation.gate import judge
from slipway.evaluation.metric import BASELINE, CANDIDATE
from slipway.evaluation.results import Check, Verdict
from slipway.evaluation.slices import Measured, MetricTable


def config(*thresholds: dict[str, Any], task: str = "binary") -> EvaluationConfig:
    return EvaluationConfig.model_validate(
        {"task": task, "label": {"column": "y"}, "classes": ["a", "b", "c"] if task == "multiclass" else [],
         "thresholds": thresholds}
    )  # fmt: skip


def metrics(rows: int = 1, /, **values: Any) -> dict[str, Any]:
    names = ("auc", "log_loss", "precision", "recall", "calibration", "mean_label")
    filled = {name: np.full(rows, 0.5) for name in names}
    return filled | {name: np.array(value, float) for name, value in values.items()}


def overall(candidate: dict[str, Any], baseline: dict[str, Any] | None = None, examples: int = 1000) -> MetricTable:
    return MetricTable((), [()], np.array([examples]), candidate, baseline)


def by_pay(
    sizes: list[int], candidate: dict[str, Any], baseline: dict[str, Any] | None = None, names: str = "abcdefgh"
) -> MetricTable:
    return MetricTable(("pay",), [(name,) for name in names[: len(sizes)]], np.array(sizes), candidate, baseline)


def run(
    tables: list[MetricTable],
    *thresholds: dict[str, Any],
    invalid: int = 0,
    baseline_problem: str | None = None,
    constant: Literal["passed", "failed"] = "passed",
) -> Verdict:
    check = Check(metric="auc", slice="", rule="beats_constant", outcome=constant)
    problems = {BASELINE: baseline_problem} if baseline_problem else {}
    measured = Measured(tables, np.empty(0), {}, [], {CANDIDATE: invalid}, problems=problems)
    return judge(config(*thresholds), measured, check)


@pytest.mark.parametrize(
    ("threshold", "value", "blessed"),
    [
        ({"min": 0.9}, 0.9, True),
        ({"min": 0.9}, math.nextafter(0.9, 0), False),
        ({"max": 0.9}, 0.9, True),
        ({"max": 0.9}, math.nextafter(0.9, 1), False),
        ({"min": 0.8, "max": 0.9}, 0.95, False),
    ],
)
def test_judge_absolute_bound_is_inclusive(threshold: dict[str, float], value: float, blessed: bool) -> None:
    verdict = run([overall(metrics(auc=[value]))], {"metric": "auc", **threshold})
    assert verdict.blessed is blessed


def test_judge_no_baseline_max_drop_is_not_checked() -> None:
    verdict = run([overall(metrics())], {"metric": "auc", "max_drop": 0})
    assert verdict.blessed
    assert verdict.reasons() == ["auc not checked: no other model is in production"]


def test_judge_baseline_that_cannot_be_scored_refuses_only_where_it_is_compared() -> None:
    broken = "it needs tips, which the schema does not have"
    verdict = run([overall(metrics())], {"metric": "auc", "max_drop": 0}, baseline_problem=broken)
    assert not verdict.blessed
    assert verdict.reasons() == [
        "auc failed: production cannot be scored: it needs tips, which the schema does not have"
    ]
    assert run([overall(metrics())], {"metric": "auc", "min": 0.5}, baseline_problem=broken).blessed


def test_judge_invalid_predictions_refuse_whatever_the_thresholds_say() -> None:
    verdict = run([overall(metrics())], {"metric": "auc", "min": 0.1}, invalid=3)
    assert not verdict.blessed
    (reason,) = verdict.reasons()
    assert "3 of 1,000" in reason


def test_judge_candidate_no_better_than_a_constant_model_is_refused_whatever_the_thresholds_say() -> None:
    verdict = run([overall(metrics())], {"metric": "auc", "min": 0.1}, constant="failed")
    assert not verdict.blessed
    assert [(check.rule, check.outcome) for check in verdict.checks] == [
        ("beats_constant", "failed"),
        ("min", "passed"),
    ]


def test_judge_undefined_overall_refuses() -> None:
    verdict = run([overall(metrics(auc=[math.nan]))], {"metric": "auc", "min": 0.1})
    assert verdict.reasons() == ["auc failed: undefined on the evaluation split (n=1,000)"]


def test_judge_no_thresholds_refuse() -> None:
    verdict = run([overall(metrics())])
    assert not verdict.blessed
    assert "nothing was checked" in verdict.reasons()[0]


def test_judge_slices_below_min_examples_are_not_checked() -> None:
    table = by_pay([1000, 500, 99], metrics(3, auc=[0.95, 0.9, 0.1]))
    verdict = run([overall(metrics()), table], {"metric": "auc", "min": 0.9, "slice": ["pay"]})
    assert verdict.blessed
    assert verdict.reasons() == [
        "auc on each pay passed: on 2 slices; the tightest: auc 0.9 on pay=b is at least 0.9 (n=500)",
        "auc on each pay not checked: fewer than 100 examples on 1 of 3 slices",
    ]


def test_judge_failed_slices_are_named_worst_first() -> None:
    table = by_pay([200, 300, 1204], metrics(3, auc=[0.7, 0.95, 0.65]))
    verdict = run([overall(metrics()), table], {"metric": "auc", "min": 0.93, "slice": ["pay"]})
    assert verdict.reasons() == [
        "auc 0.65 on pay=c is below 0.93 (n=1,204)",
        "auc 0.7 on pay=a is below 0.93 (n=200)",
    ]
    assert verdict.checks[0].columns == ["pay"]
    assert verdict.checks[0].values == ["c"]


def test_judge_many_failed_slices_are_counted() -> None:
    table = MetricTable(
        ("id",),
        [(str(index),) for index in range(50)],
        np.full(50, 100),
        metrics(50, auc=np.linspace(0, 0.4, 50)),
        None,
    )
    verdict = run([overall(metrics()), table], {"metric": "auc", "min": 0.9, "slice": ["id"]})
    assert [check.outcome for check in verdict.checks].count("failed") == 21
    assert "30 slices more" in verdict.reasons()[-1]


def test_judge_no_slice_large_enough_refuses() -> None:
    table = by_pay([50, 43], metrics(2))
    verdict = run([overall(metrics()), table], {"metric": "auc", "min": 0.1, "slice": ["pay"]})
    assert verdict.reasons() == [
        "auc on each pay failed: no slice could be checked: "
        "fewer than 100 examples on 2 of 2 slices (the largest has 50)"
    ]


def test_judge_slice_with_labels_all_alike_is_not_checked_but_nan_refuses() -> None:
    threshold = {"metric": "auc", "min": 0.4, "slice": ["pay"]}
    alike = by_pay([200, 300], metrics(2, auc=[math.nan, 0.5]))
    verdict = run([overall(metrics()), alike], threshold)
    assert verdict.blessed
    assert "undefined on 1 slice" in verdict.reasons()[-1]
    spoilt = by_pay([200, 300], metrics(2, auc=[math.nan, 0.5], log_loss=[math.nan, 0.5]))
    verdict = run([overall(metrics()), spoilt], threshold)
    assert verdict.reasons() == ["auc on pay=a failed: undefined because of the model's predictions (n=200)"]


def test_judge_slice_on_which_the_model_predicts_nothing_positive_fails_precision() -> None:
    table = by_pay([200, 300], metrics(2, precision=[math.nan, 0.9], mean_label=[0.2, 0.2]))
    verdict = run([overall(metrics()), table], {"metric": "precision", "min": 0.5, "slice": ["pay"]})
    assert not verdict.blessed
    table = by_pay([200, 300], metrics(2, precision=[math.nan, 0.9], mean_label=[0.0, 0.2]))
    assert run([overall(metrics()), table], {"metric": "precision", "min": 0.5, "slice": ["pay"]}).blessed


def test_judge_example_count_is_a_metric() -> None:
    assert not run([overall(metrics(example_count=[1000]))], {"metric": "example_count", "min": 5000}).blessed
    assert run([overall(metrics(example_count=[1000]))], {"metric": "example_count", "min": 1000}).blessed


def test_describe_near_numbers_get_digits_until_they_differ() -> None:
    check = Check(metric="auc", rule="min", bound=0.93, value=0.9299996, examples=10, outcome="failed")
    assert check.describe() == "auc 0.9299996 is below 0.93 (n=10)"


@pytest.mark.parametrize(
    ("threshold", "task", "message"),
    [
        ({"metric": "r_squared", "min": 0.1}, "binary", "threshold on r_squared: no metric of a binary module; choose"),
        ({"metric": "auc", "min": 0.1}, "regression", "choose one of .*mean_absolute_error"),
        ({"metric": "mean_label", "max_drop": 0.1}, "binary", "neither more nor less of it is better"),
        ({"metric": "auc", "max_drop": -0.1}, "binary", "it is 0 or more"),
    ],
)
def test_config_threshold_that_does_not_fit_is_refused(threshold: dict[str, Any], task: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(threshold, task=task)
