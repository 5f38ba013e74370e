"""A window's requests as statistics of a data set, so that they are shown and compared like the splits of a run.

The monitor counts cells, those of its version's training rows: tenths of numbers, frequent values of categories. What
it does not know (mean, deviation, median, distinct values, average length) is NaN or left out.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data.statistics.describe import TOP_VALUES, feature_name

if TYPE_CHECKING:
    from slipway.monitoring.columns import Column
    from slipway.monitoring.counts import Counts
    from slipway.monitoring.result import WindowResult

OTHER = "(other)"


def window_statistics(
    result: WindowResult, name: str, like: statistics_pb2.DatasetFeatureStatistics | None = None
) -> statistics_pb2.DatasetFeatureStatistics:
    """The requests of a window, with the labels that have come.

    Args:
        result: The window.
        name: Of the data set.
        like: Another data set that tells the types: few whole numbers are counted by value, as categories are.
    """
    types = {feature_name(one): one.type for one in like.features} if like else {}
    dataset = statistics_pb2.DatasetFeatureStatistics(name=name, num_examples=result.requests)
    for column in [*result.columns, *([result.labels] if result.labels else [])]:
        feature = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
        feature.path.step.append(column.name)
        kind = types.get(column.name, feature.type)
        if column.counts.cells.kind == "number" or (kind != feature.type and _whole(column.counts) is not None):
            feature.type = kind if column.name in types else feature.FLOAT
            _describe_numbers(feature.num_stats, column)
        else:
            _describe_strings(feature.string_stats, column.counts)
    return dataset


def _describe_common(common: statistics_pb2.CommonStatistics, counts: Counts) -> None:
    common.num_missing = counts.counts[-1]
    common.num_non_missing = common.tot_num_values = counts.rows - counts.counts[-1]
    common.min_num_values = common.max_num_values = 1
    common.avg_num_values = 1.0


def _describe_numbers(stats: statistics_pb2.NumericStatistics, column: Column) -> None:
    counts, cells, unknown = column.counts, column.counts.cells, math.nan
    _describe_common(stats.common_stats, counts)
    stats.mean = stats.std_dev = stats.median = stats.min = stats.max = unknown
    whole = _whole(counts)
    if cells.kind == "category" and whole is not None:
        buckets = [(value, value + 1.0, count) for value, count in sorted(zip(whole, counts.counts, strict=False))]
    else:
        edges = cells.edges or [0.0]
        low = edges[0] if cells.lowest is None else min(cells.lowest, edges[0])
        high = edges[-1] if cells.highest is None else max(cells.highest, edges[-1])
        buckets = [(a, b, count) for (a, b), count in zip(pairwise([low, *edges, high]), counts.counts, strict=False)]
    kind = statistics_pb2.Histogram.QUANTILES
    histogram = stats.histograms.add(type=kind, num_undefined=counts.counts[-2])
    for low, high, count in buckets:
        histogram.buckets.add(low_value=low, high_value=high, sample_count=count)


def _describe_strings(stats: statistics_pb2.StringStatistics, counts: Counts) -> None:
    _describe_common(stats.common_stats, counts)
    pairs = zip([*counts.cells.names[:-2], OTHER], counts.counts, strict=False)
    named = sorted(((label, count) for label, count in pairs if count), key=lambda one: (-one[1], one[0]))
    stats.unique, stats.avg_length = len(named), math.nan
    for rank, (label, count) in enumerate(named):
        if rank < TOP_VALUES:
            stats.top_values.add(value=label, frequency=count)
        stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=label, sample_count=count)


def _whole(counts: Counts) -> list[float] | None:
    """The values of categories as numbers; None if one is not."""
    try:
        return [float(value) for value in counts.cells.values] if counts.cells.kind == "category" else None
    except ValueError:
        return None
