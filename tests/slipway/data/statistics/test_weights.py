import math
from pathlib import Path

import numpy as np
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data.statistics.compute import compute_statistics
from slipway.data.statistics.describe import tallies
from slipway.data.statistics.features import by_name, feature_figures, feature_tables
from slipway.data.statistics.weights import has_weights, weighted
from tests.example_artifacts import write_examples


def with_weights(folder: Path) -> statistics_pb2.DatasetFeatureStatistics:
    """Statistics of four rows, with what TFDV writes of them if the last of them weighs 7."""
    write_examples(folder, {"fare": [1.0, 2.0, 3.0, 10.0], "kind": ["a", "a", "a", "b"]})
    dataset = compute_statistics(folder).datasets[0]
    dataset.weighted_num_examples = 10
    fare, kind = dataset.features
    for common in (fare.num_stats.common_stats, kind.string_stats.common_stats):
        common.weighted_common_stats.num_non_missing = 10
        common.weighted_common_stats.tot_num_values = 10
        common.weighted_common_stats.avg_num_values = 1
    numbers = fare.num_stats.weighted_numeric_stats
    numbers.mean, numbers.std_dev, numbers.median = 7.6, 3.67, 10.0
    histogram = numbers.histograms.add(type=0)
    histogram.buckets.add(low_value=1, high_value=5.5, sample_count=3)
    histogram.buckets.add(low_value=5.5, high_value=10, sample_count=7)
    strings = kind.string_stats.weighted_string_stats
    for rank, (value, count) in enumerate((("b", 7), ("a", 3))):
        strings.top_values.add(value=value, frequency=count)
        strings.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=value, sample_count=count)
    return dataset


def test_weighted_statistics_take_the_place_of_the_plain_ones(tmp_path: Path) -> None:
    plain = with_weights(tmp_path)
    assert has_weights(plain)
    its = weighted(plain)
    assert (plain.features[0].num_stats.mean, its.features[0].num_stats.mean) == (4.0, 7.6)
    assert (its.num_examples, tallies(its.features[0]).num_non_missing) == (0, 10)
    assert [top.value for top in its.features[1].string_stats.top_values] == ["b", "a"]
    drawn = feature_tables(by_name({"train": its}), {"train": 10}) + feature_figures(by_name({"train": its}))
    assert "7.600" in drawn
    assert "70 %" in drawn


@pytest.mark.parametrize("whole", [True, False])
def test_a_weight_counts_as_often_as_its_row_would_be_there(tmp_path: Path, whole: bool) -> None:
    random = np.random.default_rng(3)
    values = random.integers(0, 9, 200) if whole else random.lognormal(size=200).round(3)
    values[1:3] = 0, values.max()  # the extremes weigh something
    rows = {
        "value": [None if index % 7 == 0 else value for index, value in enumerate(values.tolist())],
        "kind": random.choice(["a", "b", "c"], 200).tolist(),
        "many": [[1.0, 2.0]] * 200,
        "times": random.integers(0, 4, 200).tolist(),
    }
    rows["times"][1:6] = [1, 1, None, -2, 1]
    write_examples(tmp_path / "weighed", rows, weight="times")
    often = [max(times or 0, 0) for times in rows["times"]]
    repeated = {name: [one for one, times in zip(column, often, strict=True) for _ in range(times)]
                for name, column in rows.items()}  # fmt: skip
    write_examples(tmp_path / "repeated", repeated)
    found = compute_statistics(tmp_path / "weighed").datasets[0]
    expected = compute_statistics(tmp_path / "repeated").datasets[0]
    assert found.weighted_num_examples == expected.num_examples == sum(often)
    its = weighted(found)
    ours, theirs = its.features[0].num_stats, expected.features[0].num_stats
    assert (ours.mean, ours.std_dev, ours.median) == pytest.approx((theirs.mean, theirs.std_dev, theirs.median))
    assert tallies(its.features[0]).num_missing == theirs.common_stats.num_missing
    for one, other in zip(ours.histograms, theirs.histograms, strict=True):
        assert one.type == other.type
        counts, wanted = ([bucket.sample_count for bucket in each.buckets] for each in (one, other))
        assert counts == pytest.approx(wanted)
    plain = found.features[0].num_stats
    share = plain.num_zeros / plain.common_stats.tot_num_values
    assert ours.num_zeros / ours.common_stats.tot_num_values == share
    assert its.features[1].string_stats.rank_histogram == expected.features[1].string_stats.rank_histogram
    assert not found.features[2].num_stats.common_stats.HasField("weighted_common_stats")


def test_weights_that_sum_to_one_keep_their_shares(tmp_path: Path) -> None:
    write_examples(tmp_path, {"fare": [1.0, 2.0, None], "kind": ["a", "b", None], "w": [0.1, 0.2, 0.1]}, weight="w")
    its = weighted(compute_statistics(tmp_path).datasets[0])
    for feature in its.features[:2]:
        its_own = tallies(feature)
        assert (its_own.num_missing, its_own.num_non_missing) == pytest.approx((0.1, 0.3))
    features = by_name({"train": its})
    tables, pictures = feature_tables(features, {"train": 0.4}), feature_figures(features)
    assert tables.count("25 %") == 2
    assert ">0.3000<" in tables
    assert pictures.count("Missing: 25 % of train") == 2
    assert "66.7 %" in pictures


def test_weights_of_nothing_are_no_statistics(tmp_path: Path) -> None:
    write_examples(tmp_path, {"x": [1.0, math.inf], "kind": ["a", None], "w": [0.0, math.nan]}, weight="w")
    dataset = compute_statistics(tmp_path).datasets[0]
    assert dataset.weighted_num_examples == 0
    assert not dataset.features[0].num_stats.HasField("weighted_numeric_stats")


def test_statistics_without_weights_stay_as_they_are(tmp_path: Path) -> None:
    write_examples(tmp_path, {"fare": [1.0, 2.0], "kind": ["a", None]})
    dataset = compute_statistics(tmp_path).datasets[0]
    assert not has_weights(dataset)
    assert weighted(dataset) == dataset
