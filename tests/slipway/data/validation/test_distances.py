import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data.validation.comparators import (
    align_counts,
    align_histograms,
    jensen_shannon,
    l_infinity,
    measure_distance,
)

MASSES = st.lists(st.floats(0, 1e6), min_size=4, max_size=4).filter(lambda masses: sum(masses) > 1e-3)


def histogram(*buckets: tuple[float, float, float], num_nan: int = 0) -> statistics_pb2.Histogram:
    result = statistics_pb2.Histogram(num_nan=num_nan)
    for low, high, count in buckets:
        result.buckets.add(low_value=low, high_value=high, sample_count=count)
    return result


def divergence(first: statistics_pb2.Histogram, second: statistics_pb2.Histogram) -> float:
    return jensen_shannon(*align_histograms(first, second))


def test_a_histogram_without_values_has_no_distance() -> None:
    full, empty = statistics_pb2.FeatureNameStatistics(), statistics_pb2.FeatureNameStatistics()
    full.num_stats.histograms.append(histogram((0, 1, 5), (1, 2, 1)))
    empty.num_stats.histograms.append(histogram((0, 1, 0), (1, 2, 0)))
    assert measure_distance("JENSEN_SHANNON_DIVERGENCE", full, empty, 0) is None
    assert measure_distance("JENSEN_SHANNON_DIVERGENCE", full, full, 0) == (0, None)


def test_l_infinity_normalises_each_side_by_its_own_total() -> None:
    # a: 6/10 and 20/100, b: 4/10 and 30/100, c: 0 and 50/100.
    assert l_infinity({"a": 6, "b": 4}, {"a": 20, "b": 30, "c": 50}) == (0.5, "c")


def test_l_infinity_of_the_same_shares_is_zero() -> None:
    assert l_infinity({"a": 1, "b": 3}, {"a": 10, "b": 30})[0] == 0


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(first=MASSES, second=MASSES)
def test_jensen_shannon_agrees_with_scipy(first: list[float], second: list[float]) -> None:
    # SciPy gives the distance, the square root of the divergence.
    expected = np.nan_to_num(jensenshannon(first, second, base=2)) ** 2
    assert jensen_shannon(np.array(first), np.array(second)) == pytest.approx(expected, abs=1e-6)


def test_jensen_shannon_of_strings_is_that_of_their_shares() -> None:
    # P = (1/2, 1/2), Q = (1, 0), M = (3/4, 1/4).
    kl_p = 0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25)
    expected = (kl_p + math.log2(1 / 0.75)) / 2
    assert jensen_shannon(*align_counts({"a": 5, "b": 5}, {"a": 7})) == pytest.approx(expected)


def test_align_histograms_spreads_counts_evenly_over_common_buckets() -> None:
    first, second = align_histograms(histogram((0, 10, 10)), histogram((5, 15, 20), (15, 20, 4)))
    # Common edges 0, 5, 10, 15, 20; then a place each for what matches nothing.
    assert list(first) == [5, 5, 0, 0, 0, 0]
    assert list(second) == [0, 10, 10, 4, 0, 0]


def test_divergence_of_disjoint_histograms_is_one() -> None:
    assert divergence(histogram((0, 1, 5)), histogram((2, 3, 9))) == pytest.approx(1)


def test_divergence_of_the_same_distribution_in_other_buckets_is_zero() -> None:
    assert divergence(histogram((0, 10, 10)), histogram((0, 4, 4), (4, 10, 6))) == pytest.approx(0)


def test_divergence_of_points_matches_equal_points() -> None:
    assert divergence(histogram((1, 1, 4)), histogram((1, 1, 9))) == 0
    assert divergence(histogram((1, 1, 4)), histogram((2, 2, 9))) == 1


def test_divergence_counts_nan_and_infinity_as_unmatched() -> None:
    half_nan = histogram((0, 1, 5), num_nan=5)
    # P = (1/2, 1/2, 0) and Q = (1/2, 0, 1/2): a half of each is unmatched.
    assert divergence(half_nan, half_nan) == pytest.approx(0.5)
    half_infinite = histogram((0, 1, 5), (1, math.inf, 5))
    assert divergence(half_infinite, half_infinite) == pytest.approx(0.5)


def test_divergence_of_huge_ranges_is_finite() -> None:
    widest = histogram((-1.7e308, 1.7e308, 10))
    assert 0 <= divergence(widest, histogram((0, 1.7e308, 10))) <= 1
