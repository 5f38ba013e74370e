from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from slipway.evaluation import slice_details
from slipway.evaluation.slice_details import (
    SliceDetails,
    describe_slices,
    read_slice_details,
    write_slice_details,
)
from tests.judged_rows import ROWS, binary, measure


@pytest.mark.parametrize("threshold", [0.0, 0.07, 0.5, 0.51, 0.99, 1.0])
def test_a_confusion_matrix_at_any_threshold_is_that_of_scikit_learn(threshold: float) -> None:
    labels, scores, shops = binary()
    details = describe_slices(*measure("binary", labels, scores, shops))
    for detail in details.slices:
        rows = (shops == detail.values[0]) if detail.values else np.full(len(labels), fill_value=True)
        place = details.thresholds.index(threshold) + 1
        ours = [[sum(counts[:place]), sum(counts[place:])] for counts in detail.scores]
        predicted = scores[rows].astype(np.float64) > threshold
        assert ours == confusion_matrix(labels[rows] > 0, predicted, labels=[False, True]).tolist()


def test_scores_of_a_rare_event_are_told_apart_below_a_hundredth() -> None:
    labels, scores, shops = binary()
    details = describe_slices(*measure("binary", labels, (scores / 1000).astype(np.float32), shops))
    assert sum(one < 0.001 for one in details.thresholds) > 50


def test_intervals_are_as_wide_as_many_samples_of_the_same_rows_say() -> None:
    labels, scores, shops = binary()
    judged, measured = measure("binary", labels, scores, shops)
    overall = describe_slices(judged, measured).slices[0]
    random = np.random.default_rng(1)
    drawn = (random.integers(0, ROWS, ROWS) for _ in range(300))
    deviation = float(np.std([roc_auc_score(labels[rows], scores[rows]) for rows in drawn]))
    low, high = overall.intervals["auc"]
    assert (high + low) / 2 == pytest.approx(judged.overall.candidate["auc"], abs=1e-5)
    assert (high - low) / 2 == pytest.approx(
        2.093 * deviation, rel=0.4
    )  # of 20 samples, the deviation is known to 16 %


def test_a_part_of_the_rows_gives_intervals_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, measured = measure("binary", *binary(8000))
    whole = describe_slices(judged, measured)
    monkeypatch.setattr(slice_details, "ROWS", 2000)
    part = describe_slices(judged, measured)
    assert (whole.resampled, part.resampled) == (8000, 2000)
    widths = [high - low for low, high in (one.slices[0].intervals["auc"] for one in (whole, part))]
    assert widths[1] == pytest.approx(widths[0], rel=0.6)


def test_rows_that_say_nothing_of_chance_have_no_interval() -> None:
    labels, scores, shops = binary()
    labels[:12], scores[:12], shops[:12] = 1, 0.9, "z"
    labels[shops == "z"] = 1
    detail = next(
        one for one in describe_slices(*measure("binary", labels, scores, shops)).slices if one.values == ["z"]
    )
    assert "accuracy" not in detail.intervals  # all right: samples are alike
    assert "auc" not in detail.intervals  # undefined
    assert "mean_label" not in detail.intervals


def test_weights_are_added_up_and_rows_with_an_invalid_prediction_left_out() -> None:
    labels, scores, shops = binary()
    weights = np.where(labels > 0, 2.5, 1.0)
    scores[0] = np.nan
    overall = describe_slices(*measure("binary", labels, scores, shops, weights)).slices[0]
    assert sum(map(sum, overall.scores)) == pytest.approx(weights[1:].sum())
    assert overall.intervals.keys() == {"mean_label"}


def test_several_classes_have_a_matrix_for_each_slice() -> None:
    random = np.random.default_rng(2)
    labels, shops = random.integers(0, 3, ROWS), random.choice(["a", "b"], ROWS)
    answers = random.dirichlet([1, 1, 1], ROWS).astype(np.float32)
    details = describe_slices(*measure("multiclass", labels, answers, shops))
    for detail in details.slices[1:]:
        rows = shops == detail.values[0]
        assert detail.confusion == confusion_matrix(labels[rows], answers[rows].argmax(axis=1)).tolist()
        assert {"accuracy", "log_loss", "auc", "macro_f1"} <= detail.intervals.keys()


def test_a_regression_has_quantiles_of_residuals() -> None:
    random = np.random.default_rng(2)
    labels, shops = random.normal(size=ROWS), random.choice(["a", "b"], ROWS)
    answers = (labels + random.normal(0.5, 0.1, ROWS)).astype(np.float32)
    details = describe_slices(*measure("regression", labels, answers, shops))
    rows = shops == "a"
    expected = np.quantile(answers[rows] - labels[rows], [0.05, 0.25, 0.5, 0.75, 0.95])
    found = next(one for one in details.slices if one.values == ["a"])
    assert found.residuals == pytest.approx(expected, abs=1e-5)
    assert {"root_mean_squared_error", "mean_absolute_error", "r_squared"} <= found.intervals.keys()


def test_the_file_is_read_as_it_was_written_and_may_be_missing(tmp_path: Path) -> None:
    assert read_slice_details(str(tmp_path)) is None
    details = describe_slices(*measure("binary", *binary()))
    write_slice_details(details, tmp_path)
    assert read_slice_details(str(tmp_path)) == details
    assert isinstance(details, SliceDetails)
