import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data.statistics import compute
from slipway.data.statistics.compute import compute_statistics, open_table
from slipway.data.statistics.describe import feature_name, unique_count
from slipway.errors import DataError, StoreError
from tests.example_artifacts import write_examples
from tests.properties import examples

STANDARD, QUANTILES = 0, 1
SMALL = settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def describe(folder: Path, values: Any) -> statistics_pb2.FeatureNameStatistics:
    """Statistics of one column of the train split."""
    write_examples(folder, {"x": values})
    return compute_statistics(folder).datasets[0].features[0]


def histogram(stats: statistics_pb2.FeatureNameStatistics, kind: int) -> statistics_pb2.Histogram:
    return next(one for one in stats.num_stats.histograms if one.type == kind)


def edges(one: statistics_pb2.Histogram) -> list[float]:
    return [one.buckets[0].low_value, *(bucket.high_value for bucket in one.buckets)]


@SMALL
@given(values=hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_compute_statistics_of_any_floats_agrees_with_numpy(tmp_path: Path, values: np.ndarray) -> None:
    stats = describe(tmp_path, values).num_stats
    # Scaled, since numpy's own mean and variance overflow.
    scale = max(np.abs(values).max(), 1e-300)
    assert stats.min == values.min()
    assert stats.max == values.max()
    assert stats.num_zeros == (values == 0).sum()
    assert stats.mean / scale == pytest.approx(float(np.mean(values / scale)), abs=1e-12)
    assert stats.std_dev / scale == pytest.approx(float(np.std(values / scale)), abs=1e-7)
    counts = [bucket.sample_count for bucket in stats.histograms[STANDARD].buckets]
    assert sum(counts) == len(values)


@SMALL
@given(values=hnp.arrays(np.int64, st.integers(1, 80), elements=st.integers(-1000, 1000)))
def test_compute_statistics_of_integers_agrees_with_numpy(tmp_path: Path, values: np.ndarray) -> None:
    stats = describe(tmp_path, values)
    assert stats.type == stats.INT
    assert stats.num_stats.mean == pytest.approx(float(values.mean()), abs=1e-9)
    assert stats.num_stats.std_dev == pytest.approx(float(values.std()), abs=1e-6)
    assert stats.num_stats.median == np.quantile(values, 0.5, method="inverted_cdf")
    tenths = np.quantile(values, [index / 10 for index in range(11)], method="inverted_cdf")
    assert edges(histogram(stats, QUANTILES)) == list(tenths)


def test_compute_statistics_of_random_numbers_has_numpys_histogram(tmp_path: Path) -> None:
    values = np.random.default_rng(7).lognormal(size=2000)
    standard = histogram(describe(tmp_path, values), STANDARD)
    counts, bounds = np.histogram(values, bins=10)
    assert [bucket.sample_count for bucket in standard.buckets] == list(counts)
    assert edges(standard) == pytest.approx(bounds)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 7], [1, 2, 3, 4, 5, 6, 7, 8]),  # weekdays
        ([0, 1, 1], [0, 1, 2]),
        ([0, 23, 11], [0, 3, 6, 9, 12, 15, 18, 21, 24]),
        ([-5, 95], [*range(-5, 106, 11)]),
    ],
)
def test_compute_statistics_of_integers_has_buckets_of_a_whole_width(
    tmp_path: Path, values: list[int], wanted: list[int]
) -> None:
    standard = histogram(describe(tmp_path, values), STANDARD)
    assert edges(standard) == pytest.approx(wanted)
    counts = [sum(low <= value < high for value in values) for low, high in pairwise(wanted)]
    assert [bucket.sample_count for bucket in standard.buckets] == counts


def test_compute_statistics_of_equal_values_has_one_bucket(tmp_path: Path) -> None:
    stats = describe(tmp_path, [2.5, 2.5, 2.5])
    standard = histogram(stats, STANDARD)
    assert [(b.low_value, b.high_value, b.sample_count) for b in standard.buckets] == [(2.5, 2.5, 3)]
    assert (stats.num_stats.mean, stats.num_stats.std_dev, stats.num_stats.median) == (2.5, 0, 2.5)


def test_compute_statistics_of_values_nearer_than_a_float_can_halve_has_one_bucket(tmp_path: Path) -> None:
    stats = describe(tmp_path, [0.0, 5e-324]).num_stats
    assert [bucket.sample_count for bucket in stats.histograms[STANDARD].buckets] == [2]
    assert stats.std_dev == 0


def test_compute_statistics_counts_missing_values(tmp_path: Path) -> None:
    common = describe(tmp_path, [1, None, 3, None]).num_stats.common_stats
    assert (common.num_non_missing, common.num_missing, common.tot_num_values) == (2, 2, 2)
    assert (common.min_num_values, common.max_num_values, common.avg_num_values) == (1, 1, 1)


def test_compute_statistics_with_nan_and_infinities_keeps_them_apart(tmp_path: Path) -> None:
    stats = describe(tmp_path, [math.nan, -math.inf, 1.0, 3.0, math.inf, math.inf]).num_stats
    assert (stats.min, stats.max) == (-math.inf, math.inf)
    assert (stats.mean, stats.std_dev) == (2, 1)
    for one in stats.histograms:
        assert one.num_nan == 1
        assert sum(bucket.sample_count for bucket in one.buckets) == 5
        assert (one.buckets[0].low_value, one.buckets[0].sample_count) == (-math.inf, 1)
        assert (one.buckets[-1].high_value, one.buckets[-1].sample_count) == (math.inf, 2)


def test_compute_statistics_finds_nan_that_parquets_own_statistics_leave_out(tmp_path: Path) -> None:
    stats = describe(tmp_path, [math.nan, 1.0, 2.0]).num_stats
    assert [one.num_nan for one in stats.histograms] == [1, 1]
    assert (stats.min, stats.max, stats.mean) == (1, 2, 1.5)


@pytest.mark.parametrize("values", [[math.nan, math.nan], [None, None], [math.inf], []])
def test_compute_statistics_without_a_finite_value_has_no_mean(tmp_path: Path, values: list[float]) -> None:
    stats = describe(tmp_path, pa.array(values, pa.float64()))
    assert stats.type == stats.FLOAT
    assert (stats.num_stats.mean, stats.num_stats.median) == (0, 0)


def test_compute_statistics_of_strings_ranks_them_exactly(tmp_path: Path) -> None:
    stats = describe(tmp_path, ["b", "a", "b", None, "", "a", "c"]).string_stats
    assert stats.unique == 4
    assert [(top.value, top.frequency) for top in stats.top_values] == [("a", 2), ("b", 2), ("", 1), ("c", 1)]
    assert [bucket.label for bucket in stats.rank_histogram.buckets] == ["a", "b", "", "c"]
    assert stats.avg_length == pytest.approx(5 / 6)


def test_compute_statistics_of_many_strings_ranks_a_thousand_and_counts_all(tmp_path: Path) -> None:
    stats = describe(tmp_path, [f"v{index}" for index in range(1500)]).string_stats
    assert stats.unique == 1500
    assert len(stats.rank_histogram.buckets) == 1000
    assert len(stats.top_values) == 20


def test_compute_statistics_of_lists_counts_values_per_example(tmp_path: Path) -> None:
    lists = pa.array([[1.0, 2.0], [], None, [4.0]], pa.list_(pa.float64()))
    stats = describe(tmp_path, lists).num_stats
    common = stats.common_stats
    assert (common.num_non_missing, common.num_missing, common.tot_num_values) == (3, 1, 3)
    assert (common.min_num_values, common.max_num_values, common.avg_num_values) == (0, 2, 1)
    assert (stats.min, stats.max, stats.median) == (1, 4, 2)


def test_compute_statistics_of_string_lists_ranks_the_values(tmp_path: Path) -> None:
    stats = describe(tmp_path, pa.array([["a", "b"], ["a"]])).string_stats
    assert [(top.value, top.frequency) for top in stats.top_values] == [("a", 2), ("b", 1)]


def test_compute_statistics_of_binaries_counts_bytes(tmp_path: Path) -> None:
    stats = describe(tmp_path, [b"\xff\x00", b"\x01", None])
    assert stats.type == stats.BYTES
    assert (stats.bytes_stats.min_num_bytes, stats.bytes_stats.max_num_bytes) == (1, 2)
    assert stats.bytes_stats.avg_num_bytes == 1.5
    assert unique_count(stats) == 2


def test_compute_statistics_names_splits_and_features(tmp_path: Path) -> None:
    write_examples(tmp_path, {"a b": [1, 2], 'c"d': ["x", "y"]}, {"a b": [3], 'c"d': ["z"]})
    statistics = compute_statistics(tmp_path)
    assert [(one.name, one.num_examples) for one in statistics.datasets] == [("train", 2), ("eval", 1)]
    assert [feature_name(feature) for feature in statistics.datasets[0].features] == ["a b", 'c"d']


def test_compute_statistics_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    columns = {name: random.normal(size=20_000) for name in "abcdef"}
    columns["s"] = pa.array([f"v{index % 700}" for index in range(20_000)])
    write_examples(tmp_path, columns)
    first, second = (compute_statistics(tmp_path).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_compute_statistics_of_long_columns_estimates_quantiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "EXACT_ROWS", 1000)
    values = np.random.default_rng(5).normal(size=20_000)
    estimated = histogram(describe(tmp_path, values), QUANTILES)
    assert edges(estimated)[1:-1] == pytest.approx(np.quantile(values, np.linspace(0.1, 0.9, 9)), abs=0.02)


def test_compute_statistics_of_an_empty_split_has_no_examples(tmp_path: Path) -> None:
    write_examples(tmp_path, {"x": [1]})
    (tmp_path / "split=eval" / "part-0.parquet").unlink()
    assert [one.num_examples for one in compute_statistics(tmp_path).datasets] == [1, 0]


def test_compute_statistics_of_a_half_written_artifact_says_which_step_was_stopped(tmp_path: Path) -> None:
    write_examples(tmp_path, {"x": [1]})
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(StoreError, match=r"manifest\.json is missing: .*ingest_examples was stopped"):
        compute_statistics(tmp_path)


def test_compute_statistics_of_a_damaged_file_names_the_split(tmp_path: Path) -> None:
    write_examples(tmp_path, {"x": [1]})
    (tmp_path / "split=train" / "part-0.parquet").write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(DataError, match="split=train: the Parquet files cannot be read; ingest the data again"):
        compute_statistics(tmp_path)


def test_compute_statistics_of_another_type_names_the_column(tmp_path: Path) -> None:
    write_examples(tmp_path, {"when": pa.array([0], pa.timestamp("s"))})
    with pytest.raises(DataError, match="column 'when' is of type TIMESTAMP"):
        compute_statistics(tmp_path)


def test_open_table_that_the_system_refuses_does_not_blame_the_data(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"the system refuses to read.*gone\.parquet"):
        open_table([tmp_path / "gone.parquet"])
