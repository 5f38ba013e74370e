import numpy as np
import pytest
import sklearn.metrics as skm
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.evaluation.curves import POINTS, trace_curves
from tests.properties import examples

LABELS = np.array([0, 0, 1, 1, 1, 0], np.float32)
SCORES = np.array([0.1, 0.4, 0.4, 0.8, 1.0, 0.0], np.float32)
NAMES = ("no", "yes")


@settings(deadline=None, max_examples=examples(60))
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.7, 1.0])), min_size=2, max_size=60
    ).filter(lambda rows: 0 < sum(row[0] for row in rows) < len(rows))
)
def test_trace_curves_roc_and_precision_recall_equal_scikit_learns(rows: list[tuple[int, float]]) -> None:
    labels = np.array([row[0] for row in rows], np.float32)
    scores = np.array([row[1] for row in rows], np.float32)
    curves = trace_curves("binary", labels, scores, NAMES)
    false, true, thresholds = skm.roc_curve(labels, scores, drop_intermediate=False)
    assert curves.roc
    assert curves.roc.false_positive_rate == pytest.approx(false)
    assert curves.roc.true_positive_rate == pytest.approx(true)
    assert curves.roc.thresholds[1:] == pytest.approx(thresholds[1:])
    assert np.isfinite(curves.roc.thresholds).all()
    precision, recall, _ = skm.precision_recall_curve(labels, scores)
    assert curves.precision_recall
    assert curves.precision_recall.precision[::-1] == pytest.approx(precision[:-1])
    assert curves.precision_recall.recall[::-1] == pytest.approx(recall[:-1])


def test_trace_curves_many_scores_are_thinned_without_moving_the_area() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 20_000).astype(np.float32)
    scores = (0.3 * labels + 0.7 * random.random(20_000)).astype(np.float32)
    curves = trace_curves("binary", labels, scores, NAMES)
    assert curves.roc
    assert len(curves.roc.thresholds) <= POINTS
    assert (curves.roc.false_positive_rate[0], curves.roc.true_positive_rate[0]) == (0, 0)
    assert (curves.roc.false_positive_rate[-1], curves.roc.true_positive_rate[-1]) == (1, 1)
    area = np.trapezoid(curves.roc.true_positive_rate, curves.roc.false_positive_rate)
    assert area == pytest.approx(skm.roc_auc_score(labels, scores), abs=1e-3)


def test_trace_curves_binary_counts_are_right() -> None:
    curves = trace_curves("binary", LABELS, SCORES, NAMES)
    assert curves.confusion_matrix
    assert curves.confusion_matrix.counts == [[3, 0], [1, 2]]
    assert curves.histogram
    assert sum(curves.histogram.counts["yes"]) == 3
    assert sum(one.examples for one in curves.calibration) == 6
    assert all(one.lower <= one.mean_prediction <= one.upper for one in curves.calibration)


def test_trace_curves_one_class_has_no_roc() -> None:
    curves = trace_curves("binary", np.ones(4, np.float32), SCORES[:4], NAMES)
    assert curves.roc is None
    assert curves.precision_recall is None
    assert curves.confusion_matrix


def test_trace_curves_invalid_predictions_are_left_out() -> None:
    scores = SCORES.copy()
    scores[0] = np.nan
    curves = trace_curves("binary", LABELS, scores, NAMES)
    assert curves.confusion_matrix
    assert sum(map(sum, curves.confusion_matrix.counts)) == 5
    assert trace_curves("binary", LABELS, np.full(6, np.nan, np.float32), NAMES).roc is None


def test_trace_curves_multiclass_has_a_confusion_matrix_of_all_classes() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], np.float32)
    curves = trace_curves("multiclass", np.array([0, 1, 1]), scores, ("a", "b", "c"))
    assert curves.confusion_matrix
    assert curves.confusion_matrix.counts == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert curves.histogram
    assert {name: sum(counts) for name, counts in curves.histogram.counts.items()} == {"right": 2, "wrong": 1}


def test_trace_curves_regression_compares_predictions_with_labels() -> None:
    labels = np.linspace(-5, 5, 50, dtype=np.float32)
    curves = trace_curves("regression", labels, labels + 1, ())
    assert curves.histogram
    assert {sum(counts) for counts in curves.histogram.counts.values()} == {50}
    assert all(one.mean_prediction - one.mean_label == pytest.approx(1, abs=1e-5) for one in curves.calibration)
