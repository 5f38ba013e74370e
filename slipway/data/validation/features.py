"""Checks presence, type and number of values of a feature.

Types, texts and order follow TensorFlow Data Validation: `schema.cc` (`UpdateFeatureInternal`, `GetMissingPaths`) and
`feature_util.cc` (`UpdatePresence`, `UpdateValueCount`, `UpdateUniqueConstraints`); the conditions are those of
https://www.tensorflow.org/tfx/data_validation/anomalies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from slipway.data.statistics.describe import common_stats
from slipway.data.validation.domains import check_domain
from slipway.data.validation.finding import Condition, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator


_MISSING = Condition("x IS NULL", of_row=True)
_PRESENT = Condition("x IS NOT NULL", of_row=True)
# Stages of TFDV's `LifecycleStageIsDeprecated`: such features are not checked.
_UNCHECKED_STAGES = ("PLANNED", "ALPHA", "DEPRECATED", "DEBUG_ONLY")


def is_checked(feature: schema_pb2.Feature) -> bool:
    """Whether the feature is in use: not deprecated, planned, in alpha or for debugging only."""
    stage = schema_pb2.LifecycleStage.Name(feature.lifecycle_stage)
    return not feature.deprecated and stage not in _UNCHECKED_STAGES


def is_in_environment(schema: schema_pb2.Schema, feature: schema_pb2.Feature, environment: str) -> bool:
    """TFDV's `IsFeatureInEnvironment`."""
    if environment in feature.in_environment:
        return True
    return environment not in feature.not_in_environment and environment in schema.default_environment


def is_required(schema: schema_pb2.Schema, feature: schema_pb2.Feature, environment: str) -> bool:
    """TFDV's `IsExistenceRequired`: a feature with a minimal presence must be there where its environment is."""
    wanted = feature.presence.min_count > 0 or feature.presence.min_fraction > 0
    return is_checked(feature) and wanted and is_in_environment(schema, feature, environment)


def check_feature(
    schema: schema_pb2.Schema,
    feature: schema_pb2.Feature,
    stats: statistics_pb2.FeatureNameStatistics,
    environment: str,
) -> Iterator[Finding]:
    """Checks one feature of the schema against the statistics of one split."""
    common = common_stats(stats)
    if not common.num_non_missing:
        if is_required(schema, feature, environment):
            yield Finding(
                "FEATURE_TYPE_NOT_PRESENT", "Column dropped", "The feature was not present in any examples.",
                fix=f"fill the column {feature.name!r} in the data, or in schema.pbtxt set its presence to "
                    f"`presence {{ min_count: 0 }}`",
                bound=_presence_text(feature), rows=common.num_missing,
            )  # fmt: skip
        return
    if not is_in_environment(schema, feature, environment):
        yield Finding(
            "SCHEMA_NEW_COLUMN", "Column missing in environment",
            f"New column {feature.name} found in data but not in the environment {environment} in the schema.",
            fix=f'if the model may learn from it, remove `not_in_environment: "{environment}"` in schema.pbtxt',
        )  # fmt: skip
    yield from _check_value_count(feature, common)
    yield from _check_shape(feature, common)
    yield from _check_presence(feature, common)
    if _type_name(stats) == _schema_type_name(feature):
        yield from check_domain(schema, feature, stats)
    else:
        yield _unexpected_type(feature, stats)
    yield from _check_unique(feature, stats)


def _presence_text(feature: schema_pb2.Feature) -> str:
    parts = []
    if feature.presence.HasField("min_fraction"):
        parts.append(f"min_fraction: {feature.presence.min_fraction:g}")
    if feature.presence.HasField("min_count"):
        parts.append(f"min_count: {feature.presence.min_count}")
    return f"presence {{ {' '.join(parts)} }}"


def _check_presence(feature: schema_pb2.Feature, common: statistics_pb2.CommonStatistics) -> Iterator[Finding]:
    presence, bound = feature.presence, _presence_text(feature)
    if presence.HasField("min_count") and common.num_non_missing < presence.min_count:
        yield Finding(
            "FEATURE_TYPE_LOW_NUMBER_PRESENT", "Column dropped",
            "The feature was present in fewer examples than expected.",
            fix=f"in schema.pbtxt change `min_count: {presence.min_count}` of feature {feature.name!r} to "
                f"`min_count: {common.num_non_missing}`, or bring more data",
            bound=bound, condition=_MISSING,
        )  # fmt: skip
    if not presence.HasField("min_fraction") or not common.num_missing:
        return
    fraction = common.num_non_missing / (common.num_non_missing + common.num_missing)
    if fraction < presence.min_fraction:
        everywhere = f"The feature was expected everywhere, but was missing in {common.num_missing} examples."
        fewer = "The feature was present in fewer examples than expected."
        lower = math.floor(fraction * 100) / 100
        yield Finding(
            "FEATURE_TYPE_LOW_FRACTION_PRESENT", "Column dropped",
            everywhere if presence.min_fraction == 1 else fewer,
            fix=f"fill the column in the data, or in schema.pbtxt change `min_fraction: {presence.min_fraction:g}` of "
                f"feature {feature.name!r} to `min_fraction: {lower:g}`",
            bound=bound, condition=_MISSING,
        )  # fmt: skip


def _check_value_count(feature: schema_pb2.Feature, common: statistics_pb2.CommonStatistics) -> Iterator[Finding]:
    for end, found, sign, type_, short, few in (
        ("min", common.min_num_values, "<", "FEATURE_TYPE_LOW_NUMBER_VALUES", "Missing values", "fewer"),
        ("max", common.max_num_values, ">", "FEATURE_TYPE_HIGH_NUMBER_VALUES", "Superfluous values", "more"),
    ):
        limit = getattr(feature.value_count, end)
        if feature.value_count.HasField(end) and (found < limit if sign == "<" else found > limit):
            bound = f"value_count {{ {end}: {limit} }}"
            yield Finding(
                type_, short, f"Some examples have {few} values than expected.",
                fix=f"in schema.pbtxt change `{bound}` of feature {feature.name!r} to `{end}: {found}`, or correct the "
                    f"data",
                bound=bound, condition=Condition(f"size {sign} {limit}", of_row=True),
            )  # fmt: skip


def _check_shape(feature: schema_pb2.Feature, common: statistics_pb2.CommonStatistics) -> Iterator[Finding]:
    """TFDV's INVALID_FEATURE_SHAPE: a fixed shape has no room for missing values or other lengths."""
    if not feature.HasField("shape"):
        return
    size = math.prod(dim.size for dim in feature.shape.dim)
    if common.num_missing or common.min_num_values != size or common.max_num_values != size:
        yield Finding(
            "INVALID_FEATURE_SHAPE", "Invalid shape",
            "The feature has a shape, but it's not always present or its value lengths vary.",
            fix=f"in schema.pbtxt replace the shape of feature {feature.name!r} by "
                f"`value_count {{ min: {common.min_num_values} max: {common.max_num_values} }}`, or correct the data",
            bound=f"shape of {size} values",
            condition=Condition(f"x IS NULL OR size <> {size}", of_row=True),
        )  # fmt: skip


def _type_name(stats: statistics_pb2.FeatureNameStatistics) -> str:
    name = str(type(stats).Type.Name(stats.type))
    return "BYTES" if name == "STRING" else name


def _schema_type_name(feature: schema_pb2.Feature) -> str:
    return str(schema_pb2.FeatureType.Name(feature.type))


def _unexpected_type(feature: schema_pb2.Feature, stats: statistics_pb2.FeatureNameStatistics) -> Finding:
    expected, got = _schema_type_name(feature), str(type(stats).Type.Name(stats.type))
    return Finding(
        "UNEXPECTED_DATA_TYPE", f"Expected data of type: {expected} but got {got}",
        f"Expected data of type: {expected} but got {got}",
        fix=f"in schema.pbtxt change `type: {expected}` of feature {feature.name!r} to `type: {_type_name(stats)}`, or "
            f"correct the data",
        bound=f"type: {expected}", condition=_PRESENT,
    )  # fmt: skip


def _check_unique(feature: schema_pb2.Feature, stats: statistics_pb2.FeatureNameStatistics) -> Iterator[Finding]:
    if not feature.HasField("unique_constraints"):
        return
    limits = feature.unique_constraints
    bound = f"unique_constraints {{ min: {limits.min} max: {limits.max} }}"
    fix = f"in schema.pbtxt change `{bound}` of feature {feature.name!r}, or correct the data"
    if not stats.HasField("string_stats"):
        yield Finding(
            "FEATURE_TYPE_NO_UNIQUE", "No unique values",
            "UniqueConstraints specified for the feature, but unique values were not counted (i.e., feature is not "
            "string or categorical).",
            fix=f"in schema.pbtxt remove `{bound}` of feature {feature.name!r}", bound=bound,
        )  # fmt: skip
        return
    unique = stats.string_stats.unique
    if unique < limits.min:
        text = f"Expected at least {limits.min} unique values but found only {unique}."
        yield Finding("FEATURE_TYPE_LOW_UNIQUE", "Low number of unique values", text, fix, bound)
    if unique > limits.max:
        text = f"Expected no more than {limits.max} unique values but found {unique}."
        yield Finding("FEATURE_TYPE_HIGH_UNIQUE", "High number of unique values", text, fix, bound)
