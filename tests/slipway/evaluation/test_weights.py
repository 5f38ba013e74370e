"""A row of weight 2 counts as two alike, in every metric and comparison; variances go by rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from slipway.evaluation.chance import check_beats_constant
from slipway.evaluation.curves import trace_curves
from slipway.evaluation.focus import lowest_score
from slipway.evaluation.metric import EXAMPLE_COUNT
from slipway.evaluation.metrics import Groups, compute_metrics
from slipway.evaluation.paired import standard_errors
from slipway.evaluation.slices import Slicing
from slipway.module_api import Task

ROWS = 300
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
RANDOM = np.random.default_rng(11)
SIGNAL = RANDOM.normal(size=ROWS)
WEIGHTS = RANDOM.integers(1, 5, ROWS).astype(np.float64)
CODES = RANDOM.integers(0, 3, ROWS)
TWICE = np.repeat(np.arange(ROWS), WEIGHTS.astype(int))


def slicing(codes: NDArray[Any]) -> Slicing:
    return Slicing(("a",), codes, [("x",), ("y",), ("z",)])


def make(task: Task, noise: float = 0.7, seed: int = 1) -> tuple[NDArray[Any], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    seen = SIGNAL + noise * random.normal(size=ROWS)
    truth = SIGNAL + 0.5 * np.random.default_rng(2).normal(size=ROWS)
    if task == "regression":
        return truth.astype(np.float32), seen.astype(np.float32)
    if task == "binary":
        return (truth > 0).astype(np.float32), (1 / (1 + np.exp(-seen))).round(2).astype(np.float32)
    raw = np.exp(np.stack([-seen, np.zeros(ROWS), seen], axis=1))
    return np.digitize(truth, [-0.5, 0.5]), (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("task", TASKS)
def test_compute_metrics_a_weight_of_2_is_a_row_given_twice(task: Task) -> None:
    labels, predictions = make(task)
    (weighted,) = compute_metrics(task, labels, predictions, [slicing(CODES)], WEIGHTS)
    (repeated,) = compute_metrics(task, labels[TWICE], predictions[TWICE], [slicing(CODES[TWICE])])
    (plain,) = compute_metrics(task, labels, predictions, [slicing(CODES)])
    for name, values in weighted.items():
        if name == EXAMPLE_COUNT:
            assert values.tolist() == plain[name].tolist()
        else:
            assert values == pytest.approx(repeated[name], rel=1e-9), name
            assert values != pytest.approx(plain[name], rel=1e-4), name


@pytest.mark.parametrize("task", TASKS)
def test_trace_curves_a_weight_of_2_is_a_row_given_twice(task: Task) -> None:
    labels, predictions = make(task)
    names = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    weighted = trace_curves(task, labels, predictions, names, WEIGHTS)
    repeated = trace_curves(task, labels[TWICE], predictions[TWICE], names)
    assert weighted.confusion_matrix == repeated.confusion_matrix
    assert weighted.histogram
    assert repeated.histogram
    if task != "regression":  # whose edges depend on the number of rows
        assert weighted.histogram == repeated.histogram
    for one, other in zip(weighted.calibration, repeated.calibration, strict=True):
        assert list(one.model_dump().values()) == pytest.approx(list(other.model_dump().values()))
    if task == "binary":
        assert weighted.roc
        assert repeated.roc
        assert weighted.roc.true_positive_rate == pytest.approx(repeated.roc.true_positive_rate)
        assert weighted.roc.false_positive_rate == pytest.approx(repeated.roc.false_positive_rate)


@pytest.mark.parametrize("task", TASKS)
def test_check_beats_constant_compares_weighted_values_and_counts_rows_once(task: Task) -> None:
    labels, predictions = make(task)
    (metrics,) = compute_metrics(task, labels, predictions, [Slicing((), CODES * 0, [()])], WEIGHTS)
    found = {name: float(values[0]) for name, values in metrics.items()}
    check = check_beats_constant(task, labels, predictions, found, WEIGHTS)
    repeated = check_beats_constant(task, labels[TWICE], predictions[TWICE], found)
    equal = check_beats_constant(task, labels, predictions, found, np.full(ROWS, 3.0))
    plain = check_beats_constant(task, labels, predictions, found)
    assert check.outcome == "passed"
    assert check.value == pytest.approx(found[check.metric], rel=1e-6) == pytest.approx(repeated.value, rel=1e-6)
    assert (equal.value, equal.bound) == pytest.approx((plain.value, plain.bound), rel=1e-9)
    # The same means, but fewer rows: the bound is farther from the constant model.
    constant = {"binary": 0.5, "regression": 0.0}.get(task)
    if constant is not None:
        assert check.bound is not None
        assert repeated.bound is not None
        assert check.bound - constant > (repeated.bound - constant) * 1.3


def test_check_beats_constant_of_shuffled_labels_passes_by_chance_only() -> None:
    passed, trials = 0, 400
    for seed in range(trials):
        random = np.random.default_rng(seed)
        scores = random.random(200).astype(np.float32)
        weights = np.exp(random.normal(size=200)) * np.where(scores > 0.5, 3, 1)
        labels = (random.random(200) < 0.4).astype(np.float32)
        check = check_beats_constant("binary", labels, scores, {"log_loss": 1.0, "accuracy": 0.5}, weights)
        passed += check.outcome == "passed"
    assert passed / trials < 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


def test_check_beats_constant_few_rows_that_carry_all_weight_are_too_few() -> None:
    labels, predictions = make("binary")
    weights = np.where(np.arange(ROWS) < 10, 1e6, 1e-6)
    check = check_beats_constant("binary", labels, predictions, {"log_loss": 1.0, "accuracy": 0.5}, weights)
    assert check.outcome == "failed"


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("binary", "auc"),
        ("binary", "log_loss"),
        ("binary", "f1"),
        ("multiclass", "accuracy"),
        ("regression", "r_squared"),
    ],
)
def test_standard_errors_are_those_of_rows_drawn_anew_with_their_weights(task: Task, metric: str) -> None:
    """Against the plain bootstrap of whole rows."""
    labels, ours = make(task, seed=5)
    theirs = make(task, seed=6)[1]
    whole = Slicing((), np.zeros(ROWS, np.int64), [()])
    error = standard_errors(task, metric, labels, ours, theirs, whole, WEIGHTS)[0]
    random, drops = np.random.default_rng(3), []
    for _ in range(400):
        rows = random.integers(0, ROWS, ROWS)
        one, other = (
            compute_metrics(task, labels[rows], each[rows], [whole], WEIGHTS[rows])[0][metric][0]
            for each in (ours, theirs)
        )
        drops.append(one - other)
    assert error == pytest.approx(np.std(drops), rel=0.2)
    equal = standard_errors(task, metric, labels, ours, theirs, whole, np.full(ROWS, 7.0))
    assert equal == pytest.approx(standard_errors(task, metric, labels, ours, theirs, whole), rel=1e-6)


def test_effective_rows_are_kishs() -> None:
    groups = Groups(np.array([0, 0, 1, 1]), 2, np.array([1.0, 1, 3, 1]))
    assert groups.effective_rows == pytest.approx(np.array([2, 16 / 10]))
    assert groups.rows.tolist() == [2, 2]


def test_lowest_score_of_a_precision_weighs_rows() -> None:
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6])
    assert lowest_score(labels, scores, 0.7) == 0.9
    assert lowest_score(labels, scores, 0.7, np.array([1.0, 1, 3, 1])) == 0.7
