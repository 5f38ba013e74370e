"""Infers a schema from statistics, as TensorFlow Data Validation does, with the marks that the pipeline needs.

TFDV's rules (`schema.cc`, `feature_util.cc`, `string_domain_util.cc`): a feature that no example lacks is required
everywhere, any other has no minimum fraction; a value count that never varies is fixed; a string with few distinct
values gets a domain. What differs: all splits count, not only train, so that the data a schema was inferred from
passes it; and a list of fixed length gets a `shape`, so that the module sees a dense tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from slipway.data.schema.curate import mark_environments
from slipway.data.statistics.describe import common_stats, feature_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.module_api import Label

# TFDV's limit. A domain is a list that a person reads and keeps up to date; with more values, new ones are normal, and
# a vocabulary with room for unknown values is the means, not an error.
MAX_DOMAIN_VALUES = 100
# A column in which values hardly repeat holds names or identifiers: the next rows will hold others.
MIN_VALUE_REPEATS = 2


def infer_schema(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, label: Label | None = None
) -> schema_pb2.Schema:
    """The schema that these statistics suggest.

    Args:
        statistics: All datasets count.
        label: Its columns are marked as absent when serving. Without a label nothing is marked.

    Raises:
        ConfigError: the data has no such column.
    """
    schema = schema_pb2.Schema()
    by_name: dict[str, list[statistics_pb2.FeatureNameStatistics]] = {}
    for dataset in statistics.datasets:
        for feature in dataset.features:
            by_name.setdefault(feature_name(feature), []).append(feature)
    for name, described in by_name.items():
        feature = schema.feature.add(name=name, type=_schema_type(described[0]))
        _infer_presence(feature, described)
        _infer_domain(schema, feature, described)
    mark_environments(schema, label, "the data")
    return schema


def _schema_type(described: statistics_pb2.FeatureNameStatistics) -> int:
    types = {described.INT: schema_pb2.INT, described.FLOAT: schema_pb2.FLOAT}
    return int(types.get(described.type, schema_pb2.BYTES))


def _infer_presence(feature: schema_pb2.Feature, described: Sequence[statistics_pb2.FeatureNameStatistics]) -> None:
    commons = [common_stats(one) for one in described]
    present = [common for common in commons if common.num_non_missing]
    never_missing = not any(common.num_missing for common in commons)
    feature.presence.min_count = 1 if len(present) == len(commons) else 0
    if present and never_missing:
        feature.presence.min_fraction = 1.0
    low = min((common.min_num_values for common in present), default=1)
    high = max((common.max_num_values for common in present), default=1)
    if low == high and low > 1 and never_missing:
        feature.shape.dim.add(size=low)
        return
    feature.value_count.SetInParent()
    if low == high:
        feature.value_count.min = feature.value_count.max = low
    elif low > 0:
        feature.value_count.min = 1


def _infer_domain(
    schema: schema_pb2.Schema,
    feature: schema_pb2.Feature,
    described: Sequence[statistics_pb2.FeatureNameStatistics],
) -> None:
    """A domain for a string with few values, in the order of the alphabet as TFDV has it."""
    strings = [one.string_stats for one in described if one.HasField("string_stats")]
    values = sorted({bucket.label for stats in strings for bucket in stats.rank_histogram.buckets})
    total = sum(stats.common_stats.tot_num_values for stats in strings)
    if values and len(values) <= MAX_DOMAIN_VALUES and len(values) * MIN_VALUE_REPEATS <= total:
        schema.string_domain.add(name=feature.name, value=values)
        feature.domain = feature.name
