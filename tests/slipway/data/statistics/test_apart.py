from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data.statistics.apart import by_chance, least_apart
from slipway.data.statistics.compute import compute_statistics
from tests.example_artifacts import write_examples
from tests.properties import examples

SMALL = settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TENTHS = st.integers(-30, 30).map(lambda tenths: tenths / 10)  # often where a histogram has an edge
NUMBERS = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-5, 5) | TENTHS)


def describe(folder: Path, first: Any, second: Any) -> list[statistics_pb2.NumericStatistics]:
    write_examples(folder, {"x": first}, {"x": second})
    return [split.features[0].num_stats for split in compute_statistics(folder).datasets]


def shares_up_to(values: np.ndarray, value: float, *, below: bool) -> float:
    return float((values < value).mean() if below else (values <= value).mean())


@SMALL
@given(first=NUMBERS, second=NUMBERS)
def test_least_apart_is_never_more_than_the_rows_are(tmp_path: Path, first: np.ndarray, second: np.ndarray) -> None:
    found = least_apart(*describe(tmp_path, first, second))
    if found.distance:
        true = [shares_up_to(side, found.value, below=found.is_below) for side in (first, second)]
        assert found.distance <= abs(true[0] - true[1]) + 1e-9
        more, less = (0, 1) if found.first_has_more else (1, 0)
        assert true[more] >= found.shares[more] - 1e-9
        assert true[less] <= found.shares[less] + 1e-9


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([-3.0, *[-2.7] * 20, -2.5], [-3.0, *[-2.7] * 20, -1.0]),  # -2.7 is an edge of the first
        ([-5.0, -1e-71, 5.0], [-5.0, -1e-85, 5.0]),  # nearer to an edge of both than a position on the way tells
    ],
)
def test_what_lies_at_an_edge_is_counted_on_its_side(tmp_path: Path, first: list[float], second: list[float]) -> None:
    sides = describe(tmp_path, first, second)
    for values, stats in zip((first, second), sides, strict=True):
        buckets = stats.histograms[0].buckets
        reached = np.cumsum([bucket.sample_count for bucket in buckets])[:-1]
        assert [sum(value < bucket.high_value for value in values) for bucket in buckets[:-1]] == list(reached)


def test_an_outlier_is_no_difference_although_the_histograms_have_other_edges(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    first, second = random.lognormal(size=4000), random.lognormal(size=4000)
    second[0] = 1e6
    assert least_apart(*describe(tmp_path, first, second)).distance < by_chance((4000, 4000), 0.001)


def test_a_shift_is_found_and_placed(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    found = least_apart(*describe(tmp_path, random.normal(size=4000), random.normal(1, size=4000)))
    assert found.first_has_more
    assert 0.2 < found.distance < 0.4  # truly 0.383, at 0.5
    assert found.distance > by_chance((4000, 4000), 0.001)


@pytest.mark.parametrize(("first", "second", "distance"), [([1.0] * 9, [2.0] * 9, 1.0), ([1.0] * 9, [1.0] * 9, 0.0)])
def test_constants_are_apart_or_alike(tmp_path: Path, first: Any, second: Any, distance: float) -> None:
    assert least_apart(*describe(tmp_path, first, second)).distance == distance


@pytest.mark.parametrize(("undefined", "distance"), [(0, 0.9), (10, 0.4), (1000, 0.0)])
def test_values_of_a_window_without_a_bucket_may_lie_anywhere(undefined: int, distance: float) -> None:
    """Training had 1 and seldom 5; the window had 5, and values that training never had."""
    trained, window = (statistics_pb2.NumericStatistics(min=low, max=high) for low, high in ((1, 5), (math.nan,) * 2))
    trained.histograms.add().buckets.add(low_value=1, high_value=3, sample_count=90)
    trained.histograms[0].buckets.add(low_value=3, high_value=5, sample_count=10)
    histogram = window.histograms.add(num_undefined=undefined)
    for value, times in ((1, 0), (5, 10)):
        histogram.buckets.add(low_value=value, high_value=value + 1, sample_count=times)
    assert least_apart(trained, window).distance == pytest.approx(distance)


def test_without_values_there_is_no_difference(tmp_path: Path) -> None:
    assert least_apart(*describe(tmp_path, [1.0, 2.0], [math.nan, math.nan])).distance == 0


def test_chance_exceeds_the_bound_as_seldom_as_asked() -> None:
    random = np.random.default_rng(5)
    bound, exceeded = by_chance((300, 200), 0.05), 0
    for _ in range(400):
        first, second = np.sort(random.random(300)), np.sort(random.random(200))
        at = np.concatenate([first, second])
        apart = np.abs(np.searchsorted(first, at, "right") / 300 - np.searchsorted(second, at, "right") / 200).max()
        exceeded += apart > bound
    assert 4 <= exceeded <= 32  # of 400, 20 are expected
