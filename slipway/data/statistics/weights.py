"""Statistics in which rows count by a weight: the weighted parts of TFDV's protos in the place of the plain ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.data.statistics.describe import common_stats

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2


def has_weights(dataset: statistics_pb2.DatasetFeatureStatistics) -> bool:
    """Whether the data set was described with weights, too."""
    return bool(dataset.weighted_num_examples) or any(
        common_stats(one).HasField("weighted_common_stats") for one in dataset.features
    )


def weighted(dataset: statistics_pb2.DatasetFeatureStatistics) -> statistics_pb2.DatasetFeatureStatistics:
    """A copy in which what has weights is weighted; extremes, the share of zeros and distinct values are of the rows.

    The numbers of rows go, since their fields hold whole numbers: `tallies` reads the sums of weights in their place.
    """
    copy = type(dataset)()
    copy.CopyFrom(dataset)
    if dataset.weighted_num_examples:
        copy.ClearField("num_examples")
    for feature in copy.features:
        common = common_stats(feature)
        if common.HasField("weighted_common_stats"):
            common.ClearField("num_missing")
            common.ClearField("num_non_missing")
        if feature.num_stats.HasField("weighted_numeric_stats"):
            numbers, weighed = feature.num_stats, feature.num_stats.weighted_numeric_stats
            numbers.mean, numbers.std_dev, numbers.median = weighed.mean, weighed.std_dev, weighed.median
            numbers.ClearField("histograms")
            numbers.histograms.extend(weighed.histograms)
        if feature.string_stats.HasField("weighted_string_stats"):
            strings, ranked = feature.string_stats, feature.string_stats.weighted_string_stats
            strings.ClearField("top_values")
            strings.top_values.extend(ranked.top_values)
            strings.rank_histogram.CopyFrom(ranked.rank_histogram)
    return copy
