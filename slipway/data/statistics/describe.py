"""Converts the engine's results to tensorflow-metadata's statistics, as TensorFlow Data Validation does.

The meaning of each field is that of TFDV's `basic_stats_generator.py` and `top_k_uniques_stats_generator.py`, with
its defaults: a STANDARD histogram of ten equal widths and a QUANTILES histogram of ten equal counts, up to twenty top
values and a rank histogram of a thousand. What differs:

- TFDV estimates quantiles with a sketch; here they are exact up to `engine.EXACT_ROWS` rows.
- Mean, deviation and median are of the finite values; infinities show in `min` and `max`, and as a bucket of their own
  at the end of both histograms. NaN is counted in `num_nan`, as in TFDV.
- `avg_length` of strings counts characters, not bytes.
- A numeric feature has the number of distinct values as the custom statistic `unique`; it is approximate.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data.statistics.expressions import BUCKETS, half_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.data.statistics.engine import ColumnFacts

TOP_VALUES = 20
UNIQUE = "unique"


def describe_split(name: str, rows: int, facts: Sequence[ColumnFacts]) -> statistics_pb2.DatasetFeatureStatistics:
    """The statistics of one split."""
    dataset = statistics_pb2.DatasetFeatureStatistics(name=name, num_examples=rows)
    for column in facts:
        feature = dataset.features.add()
        feature.path.step.append(column.name)
        _describe_feature(feature, column)
    return dataset


def feature_name(feature: statistics_pb2.FeatureNameStatistics) -> str:
    """The column's name; TFDV's own files have a path or a name."""
    return feature.name or ".".join(feature.path.step)


def common_stats(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    """The statistics of every type: presence and number of values."""
    return getattr(feature, feature.WhichOneof("stats") or "num_stats").common_stats


def unique_count(feature: statistics_pb2.FeatureNameStatistics) -> int:
    """Distinct values; approximate for numbers and binaries."""
    if feature.HasField("string_stats"):
        return int(feature.string_stats.unique)
    if feature.HasField("bytes_stats"):
        return int(feature.bytes_stats.unique)
    return next((int(custom.num) for custom in feature.custom_stats if custom.name == UNIQUE), 0)


def _describe_feature(feature: statistics_pb2.FeatureNameStatistics, column: ColumnFacts) -> None:
    kind = column.type.kind
    if column.type.is_numeric:
        feature.type = feature.INT if kind == "int64" else feature.FLOAT
        _describe_numbers(feature.num_stats, column)
        feature.custom_stats.add(name=UNIQUE, num=min(column.unique, column.values["total"]))
        stats = feature.num_stats
    elif kind == "string":
        feature.type = feature.STRING
        stats = feature.string_stats
        _describe_strings(stats, column)
    else:
        feature.type = feature.BYTES
        stats = feature.bytes_stats
        _describe_binaries(stats, column)
    _describe_presence(stats.common_stats, column)


def _describe_presence(common: statistics_pb2.CommonStatistics, column: ColumnFacts) -> None:
    present = column.lengths["present"]
    common.num_non_missing = present
    common.num_missing = column.lengths["rows"] - present
    common.tot_num_values = column.values["total"]
    if present:
        common.min_num_values = column.lengths.get("shortest", 1)
        common.max_num_values = column.lengths.get("longest", 1)
        common.avg_num_values = column.values["total"] / present


def _describe_numbers(stats: statistics_pb2.NumericStatistics, column: ColumnFacts) -> None:
    values = column.values
    nans, infinities = values["nans"] or 0, values["infinities"] or 0
    finite = values["total"] - nans - infinities
    if values["total"] > nans:
        stats.min, stats.max = values["min"], values["max"]
        stats.num_zeros = values["zeros"]
    equal_widths = stats.histograms.add(type="STANDARD", num_nan=nans)
    equal_counts = stats.histograms.add(type="QUANTILES", num_nan=nans)
    ends = (values["low_infinities"] or 0, infinities - (values["low_infinities"] or 0))
    if finite:
        low, high = values["low"], values["high"]
        half = half_width(low, high)
        mean = sum(bucket[2] for bucket in column.buckets) / finite
        mean_square = sum(bucket[3] for bucket in column.buckets) / finite
        stats.mean = (low * 0.5 + mean * half) * 2
        stats.std_dev = math.sqrt(max(0.0, mean_square - mean * mean)) * half * 2
        quantiles = [float(value) for value in values["quantiles"]]
        stats.median = quantiles[BUCKETS // 2 - 1]
        _fill_equal_widths(equal_widths, low, high, column)
        _fill(equal_counts, [low, *quantiles, high], [finite / BUCKETS] * BUCKETS)
    for histogram in (equal_widths, equal_counts):
        _add_infinities(histogram, *ends)


def _fill_equal_widths(histogram: statistics_pb2.Histogram, low: float, high: float, column: ColumnFacts) -> None:
    """Ten buckets of equal width; one if all values are equal, as in TFDV."""
    half = half_width(low, high)
    if not half:
        _fill(histogram, [low, high], [column.values["total"] - column.values["nans"] - column.values["infinities"]])
        return
    edges = [low, *((low * 0.5 + half * index / BUCKETS) * 2 for index in range(1, BUCKETS)), high]
    counts = [0] * BUCKETS
    for bucket, frequency, *_ in column.buckets:
        counts[min(bucket, BUCKETS - 1)] += frequency
    _fill(histogram, edges, counts)


def _fill(histogram: statistics_pb2.Histogram, edges: Sequence[float], counts: Sequence[float]) -> None:
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=count)


def _add_infinities(histogram: statistics_pb2.Histogram, negative: int, positive: int) -> None:
    finite = list(histogram.buckets)
    del histogram.buckets[:]
    if negative:
        end = finite[0].low_value if finite else -math.inf
        histogram.buckets.add(low_value=-math.inf, high_value=end, sample_count=negative)
    histogram.buckets.extend(finite)
    if positive:
        end = finite[-1].high_value if finite else math.inf
        histogram.buckets.add(low_value=end, high_value=math.inf, sample_count=positive)


def _describe_strings(stats: statistics_pb2.StringStatistics, column: ColumnFacts) -> None:
    stats.unique = column.unique
    if column.values["total"]:
        stats.avg_length = column.values["size"] / column.values["total"]
    for rank, (value, frequency) in enumerate(column.ranking):
        if rank < TOP_VALUES:
            stats.top_values.add(value=value, frequency=frequency)
        stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=value, sample_count=frequency)


def _describe_binaries(stats: statistics_pb2.BytesStatistics, column: ColumnFacts) -> None:
    total = column.values["total"]
    stats.unique = min(column.unique, total)
    if total:
        stats.avg_num_bytes = column.values["size"] / total
        stats.min_num_bytes = column.values["smallest"]
        stats.max_num_bytes = column.values["largest"]
        stats.max_num_bytes_int = column.values["largest"]
