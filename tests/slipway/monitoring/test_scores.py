"""Intervals hold what they say, and a fall is told from chance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from slipway.evaluation.own import OwnMetric
from slipway.evaluation.results import OVERALL, SliceResult
from slipway.module_api import Monitoring, Task
from slipway.monitoring import scores as scores_module
from slipway.monitoring.config import MonitorConfig
from slipway.monitoring.result import Score
from slipway.monitoring.scores import Labelled, deciding_metric, difference, more_metrics, performance_signal, score

ROWS = 400


def answered(task: Task, seed: int, rows: int = ROWS, shift: float = 1.2) -> Labelled:
    rng = np.random.default_rng(seed)
    table = pa.table({"group": ["a" if one else "b" for one in rng.random(rows) < 0.5]})
    if task == "regression":
        labels = rng.normal(size=rows).astype(np.float32)
        return Labelled(labels, (labels + rng.normal(size=rows)).astype(np.float32), table)
    positive = rng.random(rows) < 0.3
    scored = 1 / (1 + np.exp(-(rng.normal(size=rows) + shift * positive - 0.6)))
    if task == "binary":
        return Labelled(positive.astype(np.float32), scored.astype(np.float32), table)
    return Labelled(positive.astype(np.int64), np.stack([1 - scored, scored], axis=1).astype(np.float32), table)


def overall(found: list[Score]) -> dict[str, Score]:
    return {one.metric: one for one in found if one.slice == OVERALL}


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("binary", ["auc", "accuracy", "log_loss", "recall", "f1", "auc_pr"]),
        pytest.param("multiclass", ["accuracy", "log_loss", "macro_f1"], marks=pytest.mark.slow),
        ("regression", ["root_mean_squared_error", "mean_absolute_error", "r_squared"]),
    ],
)
def test_intervals_hold_the_true_value_in_about_95_of_100_cases(
    task: Task, metrics: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores_module, "REPLICATES", 60)
    true = overall(score(task, answered(task, 1, 100_000), [], []))
    inside = dict.fromkeys(metrics, 0)
    for seed in range(40):
        found = overall(score(task, answered(task, 10 + seed), [], []))
        for metric in metrics:
            value, interval = true[metric].value, found[metric].interval
            assert value is not None
            assert interval is not None
            inside[metric] += interval[0] <= value <= interval[1]
    assert all(held >= 34 for held in inside.values()), inside


def test_slices_need_rows_and_a_value_of_the_evaluation() -> None:
    evaluated = [
        SliceResult(examples=900, candidate={"auc": 0.8}),
        SliceResult(columns=["group"], values=["a"], examples=450, candidate={"auc": 0.7}),
    ]
    rows = answered("binary", 3)
    found = {(one.slice, one.metric): one for one in score("binary", rows, [["group"], ["nowhere"]], evaluated)}
    assert {name for name, _ in found} == {OVERALL, "group=a"}
    assert found["group=a", "auc"].evaluated == 0.7
    few = score("binary", answered("binary", 3, 40), [["group"]], evaluated)
    assert {one.slice for one in few} == {OVERALL}


@pytest.mark.parametrize("asked", [[1, 2], [1.0, 2.0], ["1", "2"]])
def test_a_slice_of_floats_is_known_as_json_spells_it(asked: list[object]) -> None:
    rows = answered("binary", 3)
    table = pa.table({"area": [asked[place % 2] for place in range(ROWS)]})
    evaluated = [SliceResult(columns=["area"], values=["2.0"], examples=450, candidate={"auc": 0.7})]
    found = {(one.slice, one.metric): one for one in score("binary", replace(rows, table=table), [["area"]], evaluated)}
    assert {name for name, _ in found} == {OVERALL, "area=2.0"}
    assert found["area=2.0", "auc"].evaluated == 0.7


def signal(rows: Labelled, evaluated: float, examples: int = 3000, **monitoring: Any) -> Any:
    judged = SliceResult(examples=examples, candidate={"auc": evaluated})
    found = score("binary", rows, [], [judged])
    return performance_signal("auc", found, judged, Monitoring(**monitoring), is_new=True)


def test_a_fall_counts_when_it_is_no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores_module, "REPLICATES", 2)  # the AUC needs none
    true = overall(score("binary", answered("binary", 1, 200_000), [], []))["auc"].value
    assert true is not None
    levels = [signal(answered("binary", 100 + seed), true).level for seed in range(200)]
    assert sum(level > 1 for level in levels) <= 2
    assert all(signal(answered("binary", seed, 2000, shift=0.5), true).level > 1 for seed in range(20))
    many = answered("binary", 5, 200_000)
    assert signal(many, true + 0.01, 200_000).level < 1, "beyond chance, but less than max_drop"
    assert signal(many, true + 0.01, 200_000, max_drop=0.005).level > 1
    assert signal(many, true + 0.01, max_drop=0.005).level < 1, "3,000 rows of evaluation leave that open"


def test_few_labels_and_old_labels_say_nothing() -> None:
    rows = answered("binary", 1, 200, shift=0.0)
    assert not signal(rows, 0.9).enough
    assert signal(rows, 0.9, min_labels=100).enough
    judged = SliceResult(examples=3000, candidate={"auc": 0.9})
    found = score("binary", rows, [], [judged])
    assert not performance_signal("auc", found, judged, Monitoring(min_labels=100), is_new=False).enough
    alike = Labelled(np.zeros(200, np.float32), rows.predictions, rows.table)
    assert not signal(alike, 0.9, min_labels=100).enough, "no AUC of one class"


def test_two_versions_differ_by_more_than_chance_or_not() -> None:
    better, worse, same = (
        overall(score("binary", answered("binary", seed, 3000, shift), [], []))["auc"]
        for seed, shift in ((1, 1.2), (2, 0.3), (3, 1.2))
    )
    found = difference(worse, better)
    assert found is not None
    assert found[1][0] > 0
    found = difference(same, better)
    assert found is not None
    assert found[1][0] < 0 < found[1][1]


def test_the_deciding_metric_is_the_first_threshold_unless_named() -> None:
    assert deciding_metric("binary", Monitoring(), []) == "auc"
    assert deciding_metric("regression", Monitoring(metric="r_squared"), []) == "r_squared"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_row_of_weight_two_counts_as_two_alike(task: Task) -> None:
    rows = answered(task, 5)
    twice = np.random.default_rng(6).integers(1, 3, ROWS)
    again = np.repeat(np.arange(ROWS), twice)
    weighted = overall(score(task, replace(rows, weights=twice.astype(float)), [], []))
    repeated = overall(
        score(task, Labelled(rows.labels[again], rows.predictions[again], rows.table.take(again)), [], [])
    )
    plain = overall(score(task, rows, [], []))
    for name, one in weighted.items():
        assert one.value == pytest.approx(repeated[name].value), name
        assert one.value != plain[name].value or name in ("recall", "precision")
        assert one.interval is not None
        assert one.labels == ROWS


def test_an_own_metric_that_fails_on_few_labels_is_undefined() -> None:
    config = MonitorConfig.model_validate({"task": "binary", "label": {"column": "y"}})
    own = OwnMetric("ratio", "high", lambda labels, answers, weights: 1 / int(labels.sum() * 0))
    found = overall(score("binary", answered("binary", 5), [], [], more_metrics(config, {"ratio": own})))
    assert (found["ratio"].value, found["ratio"].interval) == (None, None)
    assert found["ratio"].problem == "ZeroDivisionError: division by zero"
    assert not any(one.problem for name, one in found.items() if name != "ratio")


def test_own_metrics_and_those_at_a_decision_have_intervals_beside_the_evaluation() -> None:
    config = MonitorConfig.model_validate(
        {"task": "binary", "label": {"column": "y"}, "thresholds": [{"metric": "recall", "decision": 0.4, "min": 0.1}]}
    )
    own = OwnMetric(
        "off", "low", lambda labels, answers, weights: np.average(np.abs(labels - answers), weights=weights)
    )
    evaluated = SliceResult(examples=900, candidate={"recall at decision 0.4": 0.5, "off": 0.4})
    rows = answered("binary", 5)
    found = overall(score("binary", rows, [], [evaluated], more_metrics(config, {"off": own})))
    recall, off = found["recall at decision 0.4"], found["off"]
    assert recall.value == pytest.approx(np.mean(rows.predictions[rows.labels > 0] > 0.4))
    assert off.value == pytest.approx(np.mean(np.abs(rows.labels - rows.predictions)))
    for one, expected in ((recall, 0.5), (off, 0.4)):
        assert one.evaluated == expected
        assert one.interval is not None
        assert one.value is not None
        assert one.interval[0] < one.value < one.interval[1]
