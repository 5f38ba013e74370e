"""Statistics in which rows count by a weight: statements for a column, and TFDV's fields for what they answer.

TFDV writes these beside the plain ones: `weighted_common_stats`, `weighted_numeric_stats`, `weighted_string_stats`.
Lists have none here. Quantiles are the smallest values up to which the share of the weight is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from slipway.data.database import identifier
from slipway.data.statistics.describe import TOP_VALUES, ColumnFacts, common_stats, equal_widths, moments
from slipway.data.statistics.expressions import (
    BUCKETS,
    INNER_QUANTILES,
    RANKED_VALUES,
    TABLE,
    bucket_bounds,
    buckets_of,
)

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from slipway.data.statistics.expressions import Kind


@dataclass(frozen=True)
class Weighed:
    """The answers for one column: weights instead of numbers of rows."""

    total: float
    missing: float
    buckets: Sequence[tuple[int, float, float, float]] = ()
    quantiles: Sequence[float] = ()
    ranking: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True)
class WeighedSql:
    """The statements over `examples(value, weight)`; `buckets` needs the table `bounds`."""

    totals: str
    buckets: str | None = None
    quantiles: str | None = None
    ranking: str | None = None


def weight_sql(column: str) -> str:
    """The weight of a row; missing, not finite or not above 0, it is 0, since such a row is left out of training."""
    name = f"{identifier(column)}::DOUBLE"
    return f"CASE WHEN isfinite({name}) AND {name} > 0 THEN {name} ELSE 0 END"


@cache
def compile_weighed(kind: Kind) -> WeighedSql:
    """SQL for DuckDB."""
    import ibis

    examples = ibis.table({"value": kind, "weight": "float64"}, name=TABLE)
    totals = examples.aggregate(
        total=examples.weight.sum(), missing=ibis.ifelse(examples.value.isnull(), examples.weight, 0.0).sum()
    )

    def sql(expression: Any) -> str:
        return str(ibis.to_sql(expression, dialect="duckdb", pretty=False))

    if kind == "binary":
        return WeighedSql(sql(totals))
    if kind == "string":
        counted = examples.filter(examples.value.notnull()).group_by("value").aggregate(weight=lambda t: t.weight.sum())
        ranked = counted.filter(counted.weight > 0).order_by([ibis.desc("weight"), "value"]).limit(RANKED_VALUES)
        return WeighedSql(sql(totals), ranking=sql(ranked))
    value = examples.value.cast("float64")
    kept = examples.select(value=value, weight=examples.weight)
    kept = kept.filter(~kept.value.isnan() & ~kept.value.isinf() & (kept.weight > 0))
    summed = kept.mutate(reached=kept.weight.cumsum(order_by=kept.value), total=kept.weight.sum().over(ibis.window()))
    quantiles = summed.aggregate(
        **{f"q{place}": summed.value.min(where=summed.reached >= summed.total * share - 1e-9 * summed.total)
           for place, share in enumerate(INNER_QUANTILES)}
    )  # fmt: skip
    return WeighedSql(sql(totals), sql(buckets_of(examples)), sql(quantiles))


def describe_weighed(feature: statistics_pb2.FeatureNameStatistics, column: ColumnFacts, its: Weighed) -> None:
    """Fills in what TFDV has for weights."""
    common = common_stats(feature).weighted_common_stats
    common.num_missing, common.num_non_missing = its.missing, its.total - its.missing
    common.tot_num_values, common.avg_num_values = common.num_non_missing, 1.0
    if column.type.kind == "string":
        strings = feature.string_stats.weighted_string_stats
        for rank, (value, weight) in enumerate(its.ranking):
            if rank < TOP_VALUES:
                strings.top_values.add(value=value, frequency=weight)
            strings.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=value, sample_count=weight)
    if its.quantiles:
        numbers, low, high = feature.num_stats.weighted_numeric_stats, column.values["low"], column.values["high"]
        bounds = bucket_bounds(column.type.kind, low, high)
        counted = sum(bucket[1] for bucket in its.buckets) or its.total - its.missing
        numbers.mean, numbers.std_dev = moments(low, bounds, counted, its.buckets)
        numbers.median = its.quantiles[BUCKETS // 2 - 1]
        widths = equal_widths(*bounds, counted, its.buckets)
        tenths = [(*edges, counted / BUCKETS) for edges in pairwise([low, *its.quantiles, high])]
        for kind, buckets in enumerate((widths, tenths)):
            histogram = numbers.histograms.add(type=kind)  # STANDARD, QUANTILES
            for start, end, weight in buckets:
                histogram.buckets.add(low_value=start, high_value=end, sample_count=weight)
