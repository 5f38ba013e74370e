"""Every metric on every slice against scikit-learn on that slice's rows, ties and one-class slices included."""

import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as skm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slipway.evaluation.metrics import EPSILON, compute_metrics, invalid_predictions
from slipway.evaluation.slices import Slicing
from tests.properties import examples

# Few distinct scores, so that ties are common; 0 and 1 exactly, and the cut itself.
SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.500001, 0.75, 0.9, 1.0])


def everything(rows: int) -> Slicing:
    return Slicing((), np.zeros(rows, np.int64), [()])


def slicing_of(codes: list[int]) -> Slicing:
    present, compact = np.unique(codes, return_inverse=True)
    return Slicing(("group",), compact, [(str(code),) for code in present])


def assert_same(ours: float, theirs: float) -> None:
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9, nan_ok=True)


def or_nan(defined: Any, function: Any, *arguments: Any, **options: Any) -> float:
    return float(function(*arguments, **options)) if defined else math.nan


def check_binary(labels: NDArray[Any], scores: NDArray[np.float32], metrics: dict[str, float]) -> None:
    chosen = scores > 0.5
    both = 0 < labels.sum() < len(labels)
    probabilities = np.stack([1 - scores.astype(np.float64), scores], axis=1)
    probabilities = np.clip(probabilities, EPSILON, 1 - EPSILON)
    expected = {
        "auc": or_nan(both, skm.roc_auc_score, labels, scores) if both else math.nan,
        "auc_pr": or_nan(labels.any(), skm.average_precision_score, labels, scores),
        "log_loss": skm.log_loss(labels, probabilities, labels=[0, 1]),
        "accuracy": skm.accuracy_score(labels, chosen),
        "balanced_accuracy": or_nan(both, skm.balanced_accuracy_score, labels, chosen),
        "precision": or_nan(chosen.any(), skm.precision_score, labels, chosen, zero_division=0),
        "recall": or_nan(labels.any(), skm.recall_score, labels, chosen, zero_division=0),
        "f1": or_nan(labels.any() or chosen.any(), skm.f1_score, labels, chosen, zero_division=0),
        "calibration": or_nan(labels.any(), lambda: scores.mean(dtype=np.float64) / labels.mean(dtype=np.float64)),
        "mean_prediction": scores.mean(dtype=np.float64),
        "mean_label": labels.mean(dtype=np.float64),
        "example_count": len(labels),
    }
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert_same(metrics[name], value)


@settings(deadline=None, max_examples=examples(40))
@given(st.lists(st.tuples(st.integers(0, 1), SCORES, st.integers(0, 2)), min_size=1, max_size=60))
def test_binary_metrics_each_slice_equals_scikit_learn(rows: list[tuple[int, float, int]]) -> None:
    labels = np.array([row[0] for row in rows], np.float32)
    scores = np.array([row[1] for row in rows], np.float32)
    slicing = slicing_of([row[2] for row in rows])
    overall, sliced = compute_metrics("binary", labels, scores, [everything(len(rows)), slicing])
    check_binary(labels, scores, {name: values[0] for name, values in overall.items()})
    for index in range(len(slicing.values)):
        mine = slicing.codes == index
        check_binary(labels[mine], scores[mine], {name: values[index] for name, values in sliced.items()})


def check_multiclass(labels: NDArray[Any], scores: NDArray[np.float32], metrics: dict[str, float]) -> None:
    best = scores.argmax(axis=1)
    areas = [
        skm.roc_auc_score(labels == index, scores[:, index])
        for index in range(scores.shape[1])
        if 0 < (labels == index).sum() < len(labels)
    ]
    present = np.unique(labels)
    recalls = [np.mean(best[labels == index] == index) for index in present]
    own = np.clip(scores[np.arange(len(labels)), labels].astype(np.float64), EPSILON, 1 - EPSILON)
    assert_same(metrics["auc"], float(np.mean(areas)) if areas else math.nan)
    assert_same(metrics["accuracy"], skm.accuracy_score(labels, best))
    assert_same(metrics["balanced_accuracy"], float(np.mean(recalls)))
    assert_same(metrics["log_loss"], float(np.mean(-np.log(own))))


@settings(deadline=None, max_examples=examples(40))
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.tuples(SCORES, SCORES, st.just(0.2)), st.integers(0, 3)),
        min_size=1,
        max_size=40,
    )
)
def test_multiclass_metrics_each_slice_equals_scikit_learn(rows: list[tuple[int, tuple[float, ...], int]]) -> None:
    labels = np.array([row[0] for row in rows], np.int64)
    scores = np.array([row[1] for row in rows], np.float64)
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    slicing = slicing_of([row[2] for row in rows])
    (sliced,) = compute_metrics("multiclass", labels, scores, [slicing])
    for index in range(len(slicing.values)):
        mine = slicing.codes == index
        check_multiclass(labels[mine], scores[mine], {name: values[index] for name, values in sliced.items()})


def test_multiclass_auc_and_log_loss_all_classes_present_equal_scikit_learns_own_averages() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, 300)
    scores = random.dirichlet(np.ones(4), 300).astype(np.float32)
    (overall,) = compute_metrics("multiclass", labels, scores, [everything(300)])
    exact = scores.astype(np.float64) / scores.sum(axis=1, dtype=np.float64, keepdims=True)
    assert overall["auc"][0] == pytest.approx(skm.roc_auc_score(labels, exact, multi_class="ovr"), abs=1e-6)
    assert overall["log_loss"][0] == pytest.approx(skm.log_loss(labels, exact), abs=1e-6)
    assert overall["balanced_accuracy"][0] == pytest.approx(skm.balanced_accuracy_score(labels, scores.argmax(axis=1)))


VALUES = st.floats(-1e3, 1e3, width=32)


@settings(deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES, st.integers(0, 3)), min_size=1, max_size=40))
def test_regression_metrics_each_slice_equals_scikit_learn(rows: list[tuple[float, float, int]]) -> None:
    labels = np.array([row[0] for row in rows], np.float32)
    predictions = np.array([row[1] for row in rows], np.float32)
    slicing = slicing_of([row[2] for row in rows])
    (sliced,) = compute_metrics("regression", labels, predictions, [slicing])
    for index in range(len(slicing.values)):
        mine = slicing.codes == index
        actual, said = labels[mine].astype(np.float64), predictions[mine].astype(np.float64)
        metrics = {name: values[index] for name, values in sliced.items()}
        assert_same(metrics["mean_absolute_error"], skm.mean_absolute_error(actual, said))
        assert_same(metrics["mean_squared_error"], skm.mean_squared_error(actual, said))
        assert_same(metrics["root_mean_squared_error"], skm.root_mean_squared_error(actual, said))
        if np.ptp(actual) > 1e-3:
            assert metrics["r_squared"] == pytest.approx(skm.r2_score(actual, said), rel=1e-6)


def test_regression_r_squared_equal_labels_is_undefined() -> None:
    (overall,) = compute_metrics("regression", np.ones(3, np.float32), np.ones(3, np.float32), [everything(3)])
    assert math.isnan(overall["r_squared"][0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.1])
def test_compute_metrics_invalid_prediction_spoils_its_slice_only(bad: float) -> None:
    labels = np.array([0, 1, 0, 1], np.float32)
    scores = np.array([0.1, 0.9, 0.2, bad], np.float32)
    assert invalid_predictions("binary", scores).tolist() == [False, False, False, True]
    overall, sliced = compute_metrics("binary", labels, scores, [everything(4), slicing_of([0, 0, 1, 1])])
    assert sliced["auc"].tolist() == pytest.approx([1, math.nan], nan_ok=True)
    assert math.isnan(overall["accuracy"][0])
    assert overall["example_count"][0] == 4
    assert overall["mean_label"][0] == 0.5


def test_compute_metrics_saturated_wrong_answer_costs_a_finite_loss() -> None:
    labels, scores = np.array([0, 1], np.float32), np.array([1, 0], np.float32)
    (overall,) = compute_metrics("binary", labels, scores, [everything(2)])
    assert overall["log_loss"][0] == pytest.approx(-math.log(EPSILON))


def test_ranking_more_slices_than_16_bits_hold_is_right() -> None:
    rows = 70_000
    labels = np.tile([0, 1], rows).astype(np.float32)
    scores = np.tile([0.2, 0.8], rows).astype(np.float32)
    slicing = Slicing(("id",), np.repeat(np.arange(rows), 2), [(str(index),) for index in range(rows)])
    (sliced,) = compute_metrics("binary", labels, scores, [slicing])
    assert (sliced["auc"] == 1).all()
    assert (sliced["auc_pr"] == 1).all()
