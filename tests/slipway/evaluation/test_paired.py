"""`max_drop`: comparisons on the same rows, their error rates, and the best version that served."""

import json
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from slipway.evaluation.chance import MIN_ROWS
from slipway.evaluation.config import EvaluationConfig
from slipway.evaluation.gate import evaluate, judge
from slipway.evaluation.metric import BASELINE, CANDIDATE
from slipway.evaluation.metrics import compute_metrics
from slipway.evaluation.own import OwnMetric
from slipway.evaluation.paired import standard_errors
from slipway.evaluation.results import Check, Verdict
from slipway.evaluation.slices import Measured, MetricTable, Slicing
from slipway.module_api import Better, Task

TRIALS = 400
LIMIT = 0.05 + 3 * (0.05 * 0.95 / TRIALS) ** 0.5  # three standard errors of the share of so many trials
SPREAD = 0.5  # of the noise by which two models of equal worth differ


def whole(rows: int) -> Slicing:
    return Slicing((), np.zeros(rows, np.int64), [()])


def measure(task: Task, made: dict[str, NDArray[Any]], slicing: Slicing | None = None) -> Measured:
    """As an engine measures labels and the answers of models."""
    labels = made["labels"]
    answers = {name: one.astype(np.float32) for name, one in made.items() if name != "labels"}
    slicings = [whole(len(labels)), *([slicing] if slicing else [])]
    found = {
        name: compute_metrics(task, labels, answers[name], slicings)
        for name in (CANDIDATE, BASELINE)
        if name in answers
    }
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
    return Measured(tables, labels, answers, slicings, {CANDIDATE: 0})


def run(measured: Measured, task: Task, metric: str, max_drop: float, **threshold: Any) -> Verdict:
    config = EvaluationConfig.model_validate(
        {"task": task, "label": {"column": "y"}, "classes": ["a", "b", "c"] if task == "multiclass" else [],
         "thresholds": [{"metric": metric, "max_drop": max_drop, **threshold}]}
    )  # fmt: skip
    return judge(config, measured, Check(metric="auc", rule="beats_constant", outcome="passed"))


def drop_check(verdict: Verdict) -> Check:
    (check,) = (check for check in verdict.checks if check.rule == "max_drop")
    return check


def probability(logit: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-logit)))


def make(task: Task, rows: int, worse: float, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Labels, and two models that see the same signal, each with its own noise; the candidate `worse` of it."""
    signal = random.normal(size=rows)
    ours, theirs = np.outer([1 - worse, 1], signal) + SPREAD * random.normal(size=(2, rows))
    if task == "regression":
        return {"labels": signal + 0.3 * random.normal(size=rows), "candidate": ours, "baseline": theirs}
    if task == "binary":
        labels: NDArray[Any] = (signal + random.normal(size=rows) > 0).astype(np.float32)
        return {"labels": labels, "candidate": probability(ours), "baseline": probability(theirs)}
    labels = np.digitize(signal + 0.5 * random.normal(size=rows), [-0.5, 0.5])
    raw = (np.stack([-2 * seen, np.full(rows, 0.3), 2 * seen], axis=1) for seen in (ours, theirs))
    one, other = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in raw)
    return {"labels": labels, "candidate": one, "baseline": other}


COMPARED: list[tuple[Task, str]] = [
    ("binary", "auc"), ("binary", "log_loss"), ("binary", "accuracy"), ("binary", "recall"), ("binary", "auc_pr"),
    ("multiclass", "auc"), ("multiclass", "log_loss"), ("multiclass", "balanced_accuracy"),
    ("regression", "r_squared"), ("regression", "mean_absolute_error"), ("regression", "root_mean_squared_error"),
]  # fmt: skip


@cache
def samples(task: Task) -> tuple[list[dict[str, NDArray[Any]]], list[dict[str, float]]]:
    """300 samples of 300 rows, and the drop of every metric on each."""
    random, made, drops = np.random.default_rng(31), [], []
    for _ in range(300):
        sample = {name: one.astype(np.float32) for name, one in make(task, 300, 0.3, random).items()}
        labels = sample["labels"]
        ours, theirs = (compute_metrics(task, labels, sample[name], [whole(300)])[0] for name in (CANDIDATE, BASELINE))
        made.append(sample)
        drops.append({metric: ours[metric][0] - theirs[metric][0] for metric in ours})
    return made, drops


@pytest.mark.parametrize(
    ("task", "metric"),
    [pytest.param(*one, marks=pytest.mark.slow) if one[0] == "multiclass" else one for one in COMPARED],
)
def test_standard_error_is_the_spread_of_the_drop_over_samples(task: Task, metric: str) -> None:
    made, drops = samples(task)
    errors = [
        standard_errors(task, metric, one["labels"], one["candidate"], one["baseline"], whole(300))[0]
        for one in made[:8]
    ]
    assert np.mean(errors) == pytest.approx(np.std([drop[metric] for drop in drops]), rel=0.15)


def binary_trials(rows: int, gap: float, random: np.random.Generator) -> list[Measured]:
    """Two models that err independently; over all rows of the world the candidate's accuracy is `gap` lower."""
    found = []
    for _ in range(TRIALS):
        labels = (random.random(rows) < 0.5).astype(np.float32)
        right = [random.random(rows) < share for share in (0.9 - gap, 0.9)]
        ours, theirs = (np.where(one, labels, 1 - labels) * 0.8 + 0.1 for one in right)
        found.append(measure("binary", {"labels": labels, "candidate": ours, "baseline": theirs}))
    return found


def outcomes(trials: list[Measured], metric: str, max_drop: float) -> tuple[float, float, float]:
    """Shares of trials: passed, refused as worse, refused since the rows cannot tell."""
    checks = [drop_check(run(one, "binary", metric, max_drop)) for one in trials]
    passed = np.array([check.outcome == "passed" for check in checks])
    unsure = np.array([check.outcome == "failed" and check.rows_wanted is not None for check in checks])
    return passed.mean(), (~passed & ~unsure).mean(), unsure.mean()


@pytest.mark.parametrize("metric", ["accuracy", pytest.param("auc", marks=pytest.mark.slow)])
def test_max_drop_models_of_equal_worth_pass_and_twice_the_drop_passes_in_5_percent_at_most(metric: str) -> None:
    random = np.random.default_rng(32)
    passed, worse, _ = outcomes(binary_trials(2_000, 0.0, random), metric, 0.02)
    assert worse <= LIMIT
    assert passed > 0.95
    passed, _, _ = outcomes(binary_trials(2_000, 0.04, random), metric, 0.02)
    assert passed <= LIMIT


@pytest.mark.parametrize("metric", ["accuracy", pytest.param("auc", marks=pytest.mark.slow)])
def test_max_drop_a_drop_as_large_as_allowed_is_refused_as_worse_in_5_percent_at_most(metric: str) -> None:
    _, worse, _ = outcomes(binary_trials(2_000, 0.02, np.random.default_rng(33)), metric, 0.02)
    assert worse <= LIMIT


def test_max_drop_few_rows_cannot_tell_whatever_was_measured() -> None:
    random = np.random.default_rng(34)
    passed, _, unsure = outcomes(binary_trials(100, 0.0, random), "accuracy", 0.01)
    assert passed < 0.2  # those measured so much better that a drop is ruled out
    assert unsure > 0.8
    passed, _, _ = outcomes(binary_trials(100, 0.04, random), "accuracy", 0.02)
    assert passed <= LIMIT


@pytest.mark.parametrize(
    ("task", "metric"),
    [("binary", "auc"), ("binary", "log_loss"), ("multiclass", "log_loss"), ("regression", "r_squared")],
)
def test_max_drop_cannot_tell_asks_for_rows_that_would_do(task: Task, metric: str) -> None:
    random = np.random.default_rng(35)
    made = make(task, 120, 0.0, random)
    measured = measure(task, made)
    max_drop = 0.6 * abs(drop_check(run(measured, task, metric, 0.5)).drop or 0) + 0.005
    check = drop_check(run(measured, task, metric, max_drop))
    assert check.outcome == "failed"
    assert check.interval
    assert check.interval[1] > 2 * max_drop
    asked = re.search(r"about ([\d,]+) rows would do", check.describe())
    assert asked
    assert "cannot tell" in check.describe()
    times = -(-int(asked[1].replace(",", "")) // 120)

    def again(times: int) -> Check:
        rows = np.tile(np.arange(120), times)
        return drop_check(run(measure(task, {name: one[rows] for name, one in made.items()}), task, metric, max_drop))

    assert again(times).rows_wanted is None
    assert again(max(1, times // 4)).rows_wanted is not None


@pytest.mark.parametrize("rows", [MIN_ROWS - 1, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("task", "metric"), COMPARED)
def test_max_drop_the_same_model_passes_on_any_rows(task: Task, metric: str, rows: int) -> None:
    made = make(task, rows, 0.0, np.random.default_rng(36))
    for max_drop in (0.0, 0.001):
        check = drop_check(run(measure(task, made | {"candidate": made["baseline"]}), task, metric, max_drop))
        assert (check.outcome, check.drop) == ("passed", 0)


def test_max_drop_fewer_rows_than_a_bound_needs_say_how_many() -> None:
    made = make("binary", MIN_ROWS - 1, 0.0, np.random.default_rng(37))
    check = drop_check(run(measure("binary", made), "binary", "log_loss", 0.5))
    assert (check.outcome, check.interval) == ("failed", None)
    assert "too few rows" in check.describe()
    assert check.rows_wanted
    assert check.rows_wanted >= MIN_ROWS
    json.loads(check.model_dump_json())


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "max_drop", "blessed"),
    [
        ("accuracy", 0.90, 0.90, 0.0, True),
        ("accuracy", 0.91, 0.90, 0.0, True),
        ("accuracy", 0.89, 0.90, 0.0, False),
        ("accuracy", 0.70, 0.90, 0.05, False),
        ("accuracy", 0.90, 0.70, 0.05, True),
        ("log_loss", 0.70, 0.90, 0.1, False),
        ("log_loss", 0.90, 0.70, 0.0, True),
        ("calibration", 0.90, 0.50, 0.1, True),
        ("calibration", 0.50, 0.90, 0.1, False),
    ],
)
def test_max_drop_goes_in_the_direction_of_the_metric(
    metric: str, ours: float, theirs: float, max_drop: float, blessed: bool
) -> None:
    """Each model is right on a share of the rows; where it is wrong it answers 0.2 for a positive."""
    labels = np.arange(4_000) % 2

    def answers(share: float) -> NDArray[Any]:
        right = np.arange(4_000) // 2 < share * 2_000
        return np.where(
            labels == 1, np.where(right, 0.8, 0.2), np.where(right, 0.2, 0.2 + 0.4 * (metric != "calibration"))
        )

    measured = measure("binary", {"labels": labels, "candidate": answers(ours), "baseline": answers(theirs)})
    assert run(measured, "binary", metric, max_drop).blessed is blessed


def test_max_drop_message_gives_both_numbers_and_the_interval() -> None:
    made = make("binary", 5_000, 0.8, np.random.default_rng(38))
    check = drop_check(run(measure("binary", made), "binary", "auc", 0.01))
    assert check.interval
    low, high = check.interval
    assert check.drop is not None
    assert 0.01 < low < check.drop < high
    text = check.describe()
    for number in (f"{check.value:.4g}", f"{check.baseline:.4g}", f"{low:.3g} to {high:.3g}", "5,000", "production's"):
        assert number in text
    assert "cannot tell" not in text


def test_max_drop_a_slice_that_is_worse_is_named_and_others_pass() -> None:
    random = np.random.default_rng(39)
    made = make("binary", 6_000, 0.0, random)
    codes = np.arange(6_000) % 3
    made["candidate"] = np.where(codes == 1, random.random(6_000), made["candidate"])
    slicing = Slicing(("pay",), codes, [("a",), ("b",), (None,)])
    verdict = run(measure("binary", made, slicing), "binary", "auc", 0.05, slice=["pay"])
    (failed,) = (check for check in verdict.checks if check.outcome == "failed")
    assert failed.slice == "pay=b"
    (passed,) = (check for check in verdict.checks if check.outcome == "passed" and check.rule == "max_drop")
    assert "2 slices" in passed.note


@pytest.mark.parametrize("metric", ["auc", "accuracy", "recall"])
def test_standard_errors_of_slices_are_those_of_their_rows_alone(metric: str) -> None:
    made = make("binary", 900, 0.2, np.random.default_rng(40))
    labels, ours, theirs = (made[name].astype(np.float32) for name in ("labels", "candidate", "baseline"))
    codes = np.repeat([0, 1, 2], [400, 300, 200])
    found = standard_errors("binary", metric, labels, ours, theirs, Slicing(("a",), codes, [("x",), ("y",), ("z",)]))
    for code in range(3):
        rows = codes == code
        alone = standard_errors("binary", metric, labels[rows], ours[rows], theirs[rows], whole(int(rows.sum())))
        assert found[code] == pytest.approx(alone[0], rel=0.2 if metric == "recall" else 1e-9)


def test_standard_error_of_auc_is_that_of_delong_by_its_definition() -> None:
    made = make("binary", 60, 0.5, np.random.default_rng(41))
    labels, ours, theirs = (made[name].astype(np.float32) for name in ("labels", "candidate", "baseline"))
    ours = np.round(ours, 1)  # ties

    def kernel(scores: NDArray[Any]) -> NDArray[Any]:
        above = scores[labels == 1][:, None] - scores[labels == 0][None, :]
        return np.asarray((above > 0) + 0.5 * (above == 0))

    one, other = kernel(ours), kernel(theirs)
    tens = np.cov(one.mean(axis=1), other.mean(axis=1)) / len(one)
    ones = np.cov(one.mean(axis=0), other.mean(axis=0)) / one.shape[1]
    contrast = np.array([1, -1])
    expected = np.sqrt(contrast @ (tens + ones) @ contrast)
    assert standard_errors("binary", "auc", labels, ours, theirs, whole(60))[0] == pytest.approx(expected)


def sliding(random: np.random.Generator, rows: int = 4_000) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Labels, and four models each of which is right on 0.01 fewer of the rows, on fewer of the same rows."""
    labels, luck = (random.random(rows) < 0.5).astype(np.float32), random.random(rows)
    models = [np.where(luck < share, labels, 1 - labels) * 0.8 + 0.1 for share in (0.93, 0.92, 0.91, 0.90)]
    return labels, models


def test_max_drop_three_pushes_each_a_little_worse_do_not_pass() -> None:
    for seed in range(20):
        labels, models = sliding(np.random.default_rng(seed))
        made = {"labels": labels, "candidate": models[1], "baseline": models[0]}
        first = measure("binary", made)
        assert run(first, "binary", "accuracy", 0.0125).blessed
        made = {"labels": labels, "candidate": models[2], "baseline": models[1]}
        second = measure("binary", made)
        assert run(second, "binary", "accuracy", 0.0125).blessed  # production alone lets it slide
        second = measure("binary", made | {"version 1": models[0]})
        verdict = run(second, "binary", "accuracy", 0.0125)
        assert not verdict.blessed
        (reason,) = verdict.reasons()
        assert "version 1" in reason


def test_max_drop_the_best_that_served_is_found_on_each_slice() -> None:
    random = np.random.default_rng(42)
    labels, luck, codes = (random.random(6_000) < 0.5).astype(np.float32), random.random(6_000), np.arange(6_000) % 3

    def right(*shares: float) -> NDArray[Any]:
        return np.where(luck < np.array(shares)[codes], labels, 1 - labels) * 0.8 + 0.1

    slicing = Slicing(("pay",), codes, [("a",), ("b",), ("c",)])
    models = {
        "candidate": right(0.9, 0.9, 0.9), "baseline": right(0.9, 0.9, 0.9),
        "version 1": right(0.99, 0.8, 0.8), "version 2": right(0.8, 0.99, 0.9),
    }  # fmt: skip
    measured = measure("binary", {"labels": labels, **models}, slicing)
    verdict = run(measured, "binary", "accuracy", 0.02, slice=["pay"])
    failed = {check.slice: check.against for check in verdict.checks if check.outcome == "failed"}
    assert failed == {"pay=a": "version 1", "pay=b": "version 2"}


def test_max_drop_versions_that_cannot_be_compared_are_said_and_left_out() -> None:
    labels, models = sliding(np.random.default_rng(43))
    made = {"labels": labels, "candidate": models[0], "baseline": models[0], "version 4": np.full(4_000, np.nan)}
    measured = measure("binary", made)
    measured.problems["version 3"] = "it needs tips, which the schema does not have"
    verdict = run(measured, "binary", "accuracy", 0.01)
    assert verdict.blessed
    (note,) = (reason for reason in verdict.reasons() if "not checked" in reason)
    assert "version 3 served before, but it needs tips" in note
    assert "version 4 served before, but its predictions are NaN" in note
    assert "version 3" not in " ".join(run(measured, "binary", "accuracy", 0.0, min=0.1).reasons()[:1])


def off(labels: NDArray[Any], predictions: NDArray[Any], weights: NDArray[Any]) -> float:
    return float(np.average(np.abs(labels - predictions), weights=weights))


@pytest.mark.parametrize(("better", "passes"), [("low", False), ("high", True)])
def test_max_drop_of_the_modules_own_metric_goes_by_its_direction(better: Better, passes: bool) -> None:
    made = make("regression", 2_000, 0.6, np.random.default_rng(4))
    own = {"off": OwnMetric("off", better, off)}
    config = EvaluationConfig.model_validate(
        {"task": "regression", "label": {"column": "y"}, "metrics": {"off": better},
         "thresholds": [{"metric": "off", "max_drop": 0.05}, {"metric": "off", "max": 5.0}]}
    )  # fmt: skip
    verdict = evaluate(config, measure("regression", made), "", own).verdict
    check = drop_check(verdict)
    assert (check.outcome == "passed") == passes
    assert check.drop is not None
    assert check.interval is not None
    errors = standard_errors(
        "regression", own["off"], made["labels"], made["candidate"], made["baseline"], whole(2_000)
    )
    by_row = np.abs(made["labels"] - made["candidate"]) - np.abs(made["labels"] - made["baseline"])
    assert errors[0] == pytest.approx(by_row.std() / 2_000**0.5, rel=0.15)
    assert check.interval[0] < check.drop < check.interval[1]


def test_own_metric_is_undefined_on_a_slice_with_an_invalid_prediction() -> None:
    metric = OwnMetric("off", "low", off)
    labels, predictions = np.zeros(4), np.array([1, np.nan, 2, 4], np.float32)
    slicing = Slicing(("a",), np.array([0, 0, 1, 1]), [("x",), ("y",)])
    found = metric.measure("regression", labels, predictions, slicing, np.array([1.0, 1, 3, 1]))
    assert np.isnan(found[0])
    assert found[1] == 2.5
