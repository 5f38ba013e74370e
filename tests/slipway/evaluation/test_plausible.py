from typing import Any

import pytest

from slipway.evaluation.plausible import check_plausible

METRICS: dict[str, Any] = {"auc": 0.999, "accuracy": 0.999, "r_squared": 0.999, "mean_label": 0.3}


@pytest.mark.parametrize(
    ("task", "metric"), [("binary", "auc"), ("multiclass", "accuracy"), ("regression", "r_squared")]
)
def test_check_plausible_names_a_nearly_perfect_metric_and_refuses_nothing(task: Any, metric: str) -> None:
    (check,) = check_plausible(task, METRICS, 1000)
    assert (check.metric, check.outcome) == (metric, "passed")
    assert "0.999" in check.describe()
    assert "training_only" in check.describe()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(
    ("metrics", "examples"),
    [(dict.fromkeys(METRICS, 0.99), 1000), (METRICS, 150), (dict.fromkeys(METRICS), 1000)],
)
def test_check_plausible_says_nothing_of_usual_metrics_or_few_rows(task: Any, metrics: Any, examples: int) -> None:
    assert list(check_plausible(task, metrics, examples)) == []


def test_check_plausible_says_nothing_of_an_auc_of_few_positives() -> None:
    assert list(check_plausible("binary", METRICS | {"mean_label": 0.01}, 1000)) == []
