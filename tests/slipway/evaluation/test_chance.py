import re
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from sklearn.metrics import log_loss, r2_score, roc_auc_score

from slipway.evaluation.chance import MIN_ROWS, Z, check_beats_constant
from slipway.evaluation.results import Check
from slipway.module_api import Task

Made = tuple[Task, NDArray[Any], NDArray[np.float32]]  # task, labels, predictions
TRIALS = 1_000
LIMIT = 0.05 + 3 * (0.05 * 0.95 / TRIALS) ** 0.5  # three standard errors of the share of so many trials


def judge(task: Task, labels: NDArray[Any], predictions: NDArray[Any]) -> Check:
    return check_beats_constant(task, labels, predictions.astype(np.float32), Counter())


def make(kind: str, rows: int, strength: float, random: np.random.Generator) -> Made:
    """Rows on which a model sees `strength` deviations of signal: with none, its labels might as well be shuffled."""
    signal, noise = random.normal(size=(2, rows))
    if kind.startswith("binary"):
        labels = (random.random(rows) < (0.1 if "rare" in kind else 0.5)).astype(np.float32)
        scores = 1 / (1 + np.exp(-noise - strength * labels))
        return "binary", labels, (np.round(4 * scores) / 4 if "tied" in kind else scores).astype(np.float32)
    if kind == "multiclass":
        classes = random.choice(3, rows, p=[0.6, 0.3, 0.1])
        logits = np.log([0.6, 0.3, 0.1]) + 0.05 * random.normal(size=(rows, 3)) + strength * np.eye(3)[classes]
        return "multiclass", classes, (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    labels = (np.exp(signal) if "skewed" in kind else signal).astype(np.float32)
    seen = strength * labels + (1 - strength) * labels.mean() + 0.05 * noise
    return "regression", labels, seen.astype(np.float32)


KINDS = ("binary", "binary rare", "binary tied", "multiclass", "regression", "regression skewed")


@pytest.mark.parametrize("rows", [MIN_ROWS, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_check_labels_unrelated_to_predictions_pass_in_5_percent_at_most(kind: str, rows: int) -> None:
    random = np.random.default_rng(11)
    passed = sum(judge(*make(kind, rows, 0.0, random)).outcome == "passed" for _ in range(TRIALS))
    assert passed / TRIALS < LIMIT


def test_check_scores_that_spread_by_class_without_ranking_it_pass_in_5_percent_at_most() -> None:
    random = np.random.default_rng(12)
    labels = np.arange(400) % 10 == 0
    passed = sum(
        judge("binary", labels, 1 / (1 + np.exp(-random.normal(size=400) * np.where(labels, 4, 1)))).outcome == "passed"
        for _ in range(TRIALS)
    )
    assert passed / TRIALS < LIMIT  # the variance under shuffled labels alone lets 13 % pass


def test_check_labels_and_predictions_long_tailed_in_opposite_directions_pass_in_8_percent_at_most() -> None:
    random = np.random.default_rng(20)
    labels, off = random.lognormal(size=(2, TRIALS, 100))
    predictions = labels.mean(axis=1, keepdims=True) - 0.02 * (off - np.exp(0.5))
    passed = sum(judge("regression", *rows).outcome == "passed" for rows in zip(labels, predictions, strict=True))
    assert passed / TRIALS < 0.08 + 3 * (0.08 * 0.92 / TRIALS) ** 0.5


@pytest.mark.parametrize(
    ("kind", "rows", "strength"),
    [("binary", 52, 0.742), ("binary rare", 400, 0.5), ("multiclass", 100, 0.2), ("regression", 100, 0.05)],
)
def test_check_models_that_see_something_pass_in_80_percent(kind: str, rows: int, strength: float) -> None:
    random = np.random.default_rng(13)  # 0.742 deviations are an AUC of 0.7: with 26 rows a class it is to show in 80 %
    passed = sum(judge(*make(kind, rows, strength, random)).outcome == "passed" for _ in range(TRIALS))
    assert passed / TRIALS > 0.75


@pytest.mark.parametrize(
    ("kind", "strength"), [("binary", 0.3), ("binary tied", 0.3), ("multiclass", 0.05), ("regression", 0.002)]
)
def test_check_too_few_rows_asks_for_as_many_as_show_the_same_difference(kind: str, strength: float) -> None:
    random = np.random.default_rng(19)
    made = (make(kind, 60, strength, random) for _ in range(100))
    task, labels, predictions, note = next(
        (*one, check.note) for one in made if "too few" in (check := judge(*one)).note and check.outcome == "failed"
    )
    assert "60 rows are too few" in note
    asked = re.search(r"about ([\d,]+) rows", note)
    assert asked
    times = round(int(asked[1].replace(",", "")) / 60)

    def repeat(times: int) -> Check:
        again = np.tile(np.arange(60), times)
        return judge(task, labels[again], predictions[again])

    assert repeat(times).outcome == "passed"
    assert repeat(max(1, times // 3)).outcome == "failed"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("rows", [MIN_ROWS, 20_000])
@pytest.mark.parametrize("unequal", [True, False])
def test_check_constant_model_is_refused_whatever_constant_it_is(task: Task, rows: int, unequal: bool) -> None:
    random = np.random.default_rng(14)
    labels = random.choice(3, rows, p=[0.7, 0.2, 0.1]) if unequal else np.arange(rows) % 3
    if task == "binary":
        answers: list[Any] = [0.0, 0.3, 1.0]
        labels = np.minimum(labels, 1)
    elif task == "multiclass":
        answers = [np.bincount(labels, minlength=3) / rows, [0.7, 0.2, 0.1], [1, 0, 0], [1, 1, 1], [0, 0, 0]]
    else:
        answers = [labels.mean(), 0.0, 1e30]
    for answer in answers:
        check = judge(task, labels, np.broadcast_to(np.float32(answer), (rows, *np.shape(answer))))
        assert check.outcome == "failed", answer
        assert "no better than a constant model's" in check.note


def test_check_perfect_models_pass_from_the_least_rows_on() -> None:
    classes = np.arange(MIN_ROWS) % 3
    perfect: dict[Task, tuple[NDArray[Any], NDArray[Any]]] = {
        "binary": (classes > 1, classes > 1),
        "multiclass": (classes, np.eye(3)[classes]),
        "regression": (classes, classes),
    }
    for task, (labels, predictions) in perfect.items():
        assert judge(task, labels, predictions).outcome == "passed"
        few = judge(task, labels[:-1], predictions[:-1])
        assert few.outcome == "failed"
        assert f"{MIN_ROWS - 1} rows are too few" in few.note
        assert f"about {MIN_ROWS} rows" in few.note


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_check_labels_all_alike_are_refused_as_that(task: Task) -> None:
    predictions = np.full((50, 3) if task == "multiclass" else 50, 0.4)
    check = judge(task, np.ones(50, np.int64), predictions)
    assert (check.outcome, check.value, check.examples) == ("failed", None, 50)
    assert "all alike" in check.note
    none = judge(task, np.arange(50) % 2, predictions * np.nan)
    assert (none.outcome, none.examples) == ("failed", 0)
    assert "no row of the evaluation split has a valid prediction" in none.note


def test_check_class_weighted_binary_model_that_loses_on_log_loss_is_blessed_and_the_loss_is_said() -> None:
    random = np.random.default_rng(15)
    labels = (random.random(2_000) < 0.05).astype(np.float32)
    scores = 1 / (1 + np.exp(-random.normal(size=2_000) - 1.5 * labels - 0.5))
    lost = {"log_loss": 0.9, "accuracy": None}
    check = check_beats_constant("binary", labels, scores.astype(np.float32), lost)
    assert check.outcome == "passed"
    share = labels.mean()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert f"log_loss 0.9 against {entropy:.4g}" in check.note
    assert "accuracy" not in check.note


def test_check_values_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(16)
    task, labels, predictions = make("binary tied", 200, 1.0, random)
    assert judge(task, labels, predictions).value == pytest.approx(roc_auc_score(labels, predictions))
    task, labels, predictions = make("multiclass", 200, 1.0, random)
    assert judge(task, labels, predictions).value == pytest.approx(log_loss(labels, predictions), rel=1e-5)
    task, labels, predictions = make("regression skewed", 200, 0.5, random)
    assert judge(task, labels, predictions).value == pytest.approx(r2_score(labels, predictions))


def test_check_bound_of_auc_is_that_of_the_rank_sum_under_every_order_of_the_labels() -> None:
    scores = np.array([0.1, 0.2, 0.2, 0.2, 0.5, 0.7, 0.7])
    labels = np.array([0, 0, 0, 1, 0, 1, 1])
    areas = [roc_auc_score(np.isin(np.arange(7), chosen), scores) for chosen in combinations(range(7), 3)]
    ranks = np.unique(scipy.stats.rankdata(scores))
    step = np.diff(ranks).max() / 2 / 12
    assert judge("binary", labels, scores).bound == pytest.approx(0.5 + Z * np.std(areas) + step)


@pytest.mark.parametrize("strength", [0.2, 0.3, 0.4, 0.5])
def test_check_binary_decides_as_scipys_rank_sum_test_without_ties(strength: float) -> None:
    random = np.random.default_rng(17)
    for _ in range(50):
        task, labels, scores = make("binary", 120, strength, random)
        found = scipy.stats.mannwhitneyu(
            scores[labels > 0], scores[labels == 0], alternative="greater", method="asymptotic"
        )
        if abs(found.pvalue - 0.05) > 0.005:  # near it the larger variance of DeLong may decide
            assert (judge(task, labels, scores).outcome == "passed") == (found.pvalue < 0.05)


def test_check_mean_of_differences_decides_as_scipys_paired_test() -> None:
    random = np.random.default_rng(18)
    for _ in range(100):
        task, labels, predictions = make("regression", 40, 0.01, random)
        losses = (labels - predictions) ** 2
        found = scipy.stats.ttest_rel((labels - labels.mean()) ** 2, losses, alternative="greater")
        assert (judge(task, labels, predictions).outcome == "passed") == (found.pvalue < 0.05)
