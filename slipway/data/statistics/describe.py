"""Converts the engine's results to tensorflow-metadata's statistics, as TensorFlow Data Validation does.

The meaning of each field is that of TFDV's `basic_stats_generator.py` and `top_k_uniques_stats_generator.py`, with
its defaults: a STANDARD histogram of ten equal widths and a QUANTILES histogram of ten equal counts, up to twenty top
values and a rank histogram of a thousand. What differs:

- TFDV estimates quantiles with a sketch; here they are exact up to `compute.EXACT_ROWS` rows.
- Buckets of integers have a whole width, so that each of a few values has its own.
- Mean, deviation and median are of the finite values; infinities show in `min` and `max`, and as a bucket of their own
  at the end of both histograms. NaN is counted in `num_nan`, as in TFDV.
- `avg_length` of strings counts characters, not bytes.
- A numeric feature has the number of distinct values as the custom statistic `unique`; it is approximate.
- An image has its `shape` as one, and as PNG in base64 the `mean image` of all and of each value of the label.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data.images import Shape
from slipway.data.statistics.expressions import BUCKETS, ColumnType, bucket_bounds, half_width, inner_edges

TOP_VALUES = 20
UNIQUE = "unique"
SHAPE = "shape"
MEAN = "mean image"

Bucket = tuple[float, float, float]  # low, high, count
Sums = Sequence[tuple[int, float, float, float]]  # bucket, frequency, sum, sum of squares


@dataclass(frozen=True)
class ColumnFacts:
    """The results of the statements of one column.

    `buckets` holds (bucket, frequency, sum, sum of squares) of positions; it is empty if all values are equal.
    `ranking` holds (value, frequency, number of distinct values), most frequent first.
    """

    name: str
    type: ColumnType
    lengths: dict[str, Any]
    values: dict[str, Any]
    buckets: Sums
    ranking: Sequence[tuple[str, int, int]]


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


def tallies(
    feature: statistics_pb2.FeatureNameStatistics,
) -> statistics_pb2.CommonStatistics | statistics_pb2.WeightedCommonStatistics:
    """How many rows and values a feature has; the sums of their weights in what `weights.weighted` made."""
    common = common_stats(feature)
    is_weighted = common.HasField("weighted_common_stats") and not common.num_missing + common.num_non_missing
    return common.weighted_common_stats if is_weighted else common


def unique_count(feature: statistics_pb2.FeatureNameStatistics) -> int:
    """Distinct values; approximate for numbers and binaries."""
    if feature.HasField("string_stats"):
        return int(feature.string_stats.unique)
    if feature.HasField("bytes_stats"):
        return int(feature.bytes_stats.unique)
    return next((int(custom.num) for custom in feature.custom_stats if custom.name == UNIQUE), 0)


def has_unique_count(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    """Whether the number of distinct values is known."""
    return not feature.HasField("num_stats") or any(custom.name == UNIQUE for custom in feature.custom_stats)


def describe_image(feature: statistics_pb2.FeatureNameStatistics, shape: Shape, means: dict[str, bytes]) -> None:
    """Adds the shape, and pictures of the mean images by label."""
    feature.custom_stats.add(name=SHAPE, str=" x ".join(map(str, shape)))
    for label, png in means.items():
        feature.custom_stats.add(name=f"{MEAN} {label}".rstrip(), str=b64encode(png).decode())


def image_shape(feature: statistics_pb2.FeatureNameStatistics) -> Shape:
    """The shape of a feature of more than one dimension; empty if it has none."""
    found = next((one.str for one in feature.custom_stats if one.name == SHAPE), "")
    return tuple(int(size) for size in found.split(" x ") if size)


def mean_images(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, bytes]:
    """PNGs by label; that of all images has the empty name."""
    return {
        one.name.removeprefix(MEAN).strip(): b64decode(one.str)
        for one in feature.custom_stats
        if one.name.startswith(MEAN)
    }


def _describe_feature(feature: statistics_pb2.FeatureNameStatistics, column: ColumnFacts) -> None:
    stats: Any
    kind, values = column.type.kind, column.values
    if kind == "string":
        feature.type, stats = feature.STRING, feature.string_stats
        _describe_strings(stats, column)
    elif kind == "binary":
        feature.type, stats = feature.BYTES, feature.bytes_stats
        stats.unique = min(values["unique"], values["total"])
        if values["total"]:
            stats.avg_num_bytes = values["size"] / values["total"]
            stats.min_num_bytes = values["smallest"]
            stats.max_num_bytes = stats.max_num_bytes_int = values["largest"]
    else:
        feature.type, stats = feature.INT if kind == "int64" else feature.FLOAT, feature.num_stats
        _describe_numbers(stats, column)
        feature.custom_stats.add(name=UNIQUE, num=min(values["unique"], values["total"]))
    present, common = column.lengths["present"], stats.common_stats
    common.num_non_missing = present
    common.num_missing = column.lengths["rows"] - present
    common.tot_num_values = values["total"]
    if present:
        common.min_num_values = column.lengths.get("shortest", 1)
        common.max_num_values = column.lengths.get("longest", 1)
        common.avg_num_values = values["total"] / present


def _describe_strings(stats: statistics_pb2.StringStatistics, column: ColumnFacts) -> None:
    stats.unique = column.ranking[0][2] if column.ranking else 0
    if column.values["total"]:
        stats.avg_length = column.values["size"] / column.values["total"]
    for rank, (value, frequency, _) in enumerate(column.ranking):
        if rank < TOP_VALUES:
            stats.top_values.add(value=value, frequency=frequency)
        stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=value, sample_count=frequency)


def _describe_numbers(stats: statistics_pb2.NumericStatistics, column: ColumnFacts) -> None:
    values = column.values
    nans, infinities, negative = (values[name] or 0 for name in ("nans", "infinities", "low_infinities"))
    finite = values["total"] - nans - infinities
    if values["total"] > nans:
        stats.min, stats.max = values["min"], values["max"]
        stats.num_zeros = values["zeros"]
    widths: list[Bucket] = []
    equal_counts: list[Bucket] = []
    if finite:
        low, high = values["low"], values["high"]
        bounds = bucket_bounds(column.type.kind, low, high)
        stats.mean, stats.std_dev = moments(low, bounds, finite, column.buckets)
        quantiles = [float(value) for value in values["quantiles"]]
        stats.median = quantiles[BUCKETS // 2 - 1]
        widths = equal_widths(*bounds, finite, column.buckets)
        equal_counts = [(*edges, finite / BUCKETS) for edges in pairwise([low, *quantiles, high])]
    for kind, buckets in (("STANDARD", widths), ("QUANTILES", equal_counts)):
        first, last = (buckets[0][0], buckets[-1][1]) if buckets else (-math.inf, math.inf)
        buckets = [(-math.inf, first, negative), *buckets] if negative else buckets
        buckets = [*buckets, (last, math.inf, infinities - negative)] if infinities > negative else buckets
        histogram = stats.histograms.add(type=kind, num_nan=nans)
        for low, high, count in buckets:
            histogram.buckets.add(low_value=low, high_value=high, sample_count=count)


def moments(low: float, bounds: tuple[float, float], counted: float, sums: Sums) -> tuple[float, float]:
    """Mean and deviation; without sums all values are `low`."""
    half = half_width(*bounds)
    mean = sum(bucket[2] for bucket in sums) / counted
    mean_square = sum(bucket[3] for bucket in sums) / counted
    return (low * 0.5 + mean * half) * 2, math.sqrt(max(0.0, mean_square - mean * mean)) * half * 2


def equal_widths(low: float, high: float, counted: float, sums: Sums) -> list[Bucket]:
    """Ten buckets of equal width, without empty ones at the end; one if all values are equal, as in TFDV."""
    if not half_width(low, high):
        return [(low, high, counted)]
    edges = [low, *inner_edges(low, high), high]
    counts = [0.0] * BUCKETS
    for bucket, frequency, *_ in sums:
        counts[bucket] = frequency
    used = max((index for index, count in enumerate(counts) if count), default=0) + 1
    ends = list(pairwise(edges))[:used]
    return [(low, high, count) for (low, high), count in zip(ends, counts[:used], strict=True)]
