"""Checks a feature's statistics against the schema: presence, type, number of values, domain.

Types and order of the anomalies follow TensorFlow Data Validation: `schema.cc` (`UpdateFeatureInternal`,
`GetMissingPaths`), `feature_util.cc` (`UpdatePresence`, `UpdateValueCount`, `UpdateUniqueConstraints`) and
`*_domain_util.cc`; the conditions are those of https://www.tensorflow.org/tfx/data_validation/anomalies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from google.protobuf import text_encoding
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from slipway.data.schema import SERVING
from slipway.data.statistics.describe import common_stats, image_shape
from slipway.data.tensors import fixed_shape
from slipway.data.validation.finding import Condition, Finding

LISTED_VALUES = 10
LARGEST_FLOAT = float(np.finfo(np.float32).max)
# Stages of TFDV's `LifecycleStageIsDeprecated`: such features are not checked.
_UNCHECKED_STAGES = ("PLANNED", "ALPHA", "DEPRECATED", "DEBUG_ONLY")
_MISSING = Condition("x IS NULL", of_row=True)
_RANGE_TYPES = {
    "bool_domain": {"min": "BOOL_TYPE_SMALL_INT", "max": "BOOL_TYPE_BIG_INT"},
    "int_domain": {"min": "INT_TYPE_SMALL_INT", "max": "INT_TYPE_BIG_INT"},
    "float_domain": {"min": "FLOAT_TYPE_SMALL_FLOAT", "max": "FLOAT_TYPE_BIG_FLOAT"},
}


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


def type_name(stats: statistics_pb2.FeatureNameStatistics) -> str:
    """The type as the schema calls it."""
    name = str(type(stats).Type.Name(stats.type))
    return "BYTES" if name == "STRING" else name


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
    yield from _check_shape(feature, stats, common)
    yield from _check_presence(feature, common)
    expected, found = str(schema_pb2.FeatureType.Name(feature.type)), type_name(stats)
    if found == expected:
        yield from _check_domain(schema, feature, stats)
    else:
        text = f"Expected data of type: {expected} but got {type(stats).Type.Name(stats.type)}"
        fix = f"in schema.pbtxt change `type: {expected}` of feature {feature.name!r} to `type: {found}`, or " \
              f"correct the data"  # fmt: skip
        present = Condition("x IS NOT NULL", of_row=True)
        yield Finding("UNEXPECTED_DATA_TYPE", text, text, fix, f"type: {expected}", present)
    if found == "FLOAT" and is_in_environment(schema, feature, SERVING):
        yield from _check_float32(feature, stats.num_stats)
    if feature.HasField("unique_constraints"):
        yield from _check_unique(feature, stats)


def _check_float32(feature: schema_pb2.Feature, numbers: statistics_pb2.NumericStatistics) -> Iterator[Finding]:
    """Infinity, and what becomes it in the 32 bits of a model's input, unless the schema has rules for it."""
    domain, name = feature.float_domain, feature.name
    low = 0.0 if domain.HasField("min") else numbers.min
    high = 0.0 if domain.HasField("max") else numbers.max
    if domain.HasField("disallow_inf") or max(abs(low), abs(high)) <= LARGEST_FLOAT:
        return
    out = f"or, if the model copes with it, give {name!r} `float_domain {{ disallow_inf: false }}` in schema.pbtxt"
    if math.isinf(low) or math.isinf(high):
        yield Finding(
            "FLOAT_TYPE_HAS_INF", "Inf values", "Float feature has infinite values.",
            fix=f"correct the data, or leave the values empty, {out}",
            condition=Condition("isinf(v)"), bound="finite",
        )  # fmt: skip
        return
    yield Finding(
        "FLOAT_TYPE_BIG_FLOAT", "Out-of-range values", "Values are beyond the float32 of a model's input.",
        fix=f"correct or rescale the data, or leave the values empty, {out}", bound=f"at most {LARGEST_FLOAT:.4g}",
        condition=Condition("NOT isnan(v) AND NOT isinf(v) AND abs(v) > ?", (LARGEST_FLOAT,)),
    )  # fmt: skip


def _exceeded(limits: Any, low: float, high: float) -> Iterator[tuple[str, float, float, str]]:
    """Each of the limits `min` and `max` that is exceeded: its name, the limit, the value beyond it, and `<` or `>`."""
    for end, value, sign in (("min", low, "<"), ("max", high, ">")):
        limit = exact_limit(limits, end)
        if limits.HasField(end) and (value < limit if sign == "<" else value > limit):
            yield end, limit, value, sign


def exact_limit(limits: Any, end: str) -> float:
    """The limit `min` or `max` as the decimal number that the schema spells.

    A float is stored in 32 bits, so that 0.1 would otherwise be more than 0.1.
    """
    limit: float = getattr(limits, end)
    return float(str(np.float32(limit))) if isinstance(limit, float) else limit


def plain_number(number: float) -> str:
    """A number without the `.0` of a whole one."""
    return str(number).removesuffix(".0")


def _check_value_count(feature: schema_pb2.Feature, common: statistics_pb2.CommonStatistics) -> Iterator[Finding]:
    few = ("FEATURE_TYPE_LOW_NUMBER_VALUES", "Missing values", "fewer")
    many = ("FEATURE_TYPE_HIGH_NUMBER_VALUES", "Superfluous values", "more")
    for end, limit, found, sign in _exceeded(feature.value_count, common.min_num_values, common.max_num_values):
        type_, short, word = few if end == "min" else many
        bound, name = f"value_count {{ {end}: {limit} }}", feature.name
        yield Finding(
            type_, short, f"Some examples have {word} values than expected.",
            fix=f"correct the data, or in schema.pbtxt change `{bound}` of feature {name!r} to `{end}: {found}`",
            bound=bound, condition=Condition(f"size {sign} {limit}", of_row=True),
        )  # fmt: skip


def _check_shape(
    feature: schema_pb2.Feature,
    stats: statistics_pb2.FeatureNameStatistics,
    common: statistics_pb2.CommonStatistics,
) -> Iterator[Finding]:
    wanted, found = fixed_shape(feature), image_shape(stats)
    size, sizes = math.prod(wanted), {common.min_num_values, common.max_num_values}
    if feature.HasField("shape") and found and found != wanted:
        said = " x ".join(map(str, found))
        yield Finding(
            "INVALID_FEATURE_SHAPE", "Invalid shape", f"The examples have values of shape {said}.",
            fix=f"bring data of the schema's shape, or in schema.pbtxt change the shape of feature {feature.name!r} to "
                f"`shape {{ {' '.join(f'dim {{ size: {one} }}' for one in found)} }}`",
            bound=f"shape {' x '.join(map(str, wanted))}",
        )  # fmt: skip
    elif feature.HasField("shape") and (common.num_missing or sizes != {size}):
        yield Finding(
            "INVALID_FEATURE_SHAPE", "Invalid shape",
            "The feature has a shape, but it's not always present or its value lengths vary.",
            fix=f"in schema.pbtxt replace the shape of feature {feature.name!r} by "
                f"`value_count {{ min: {common.min_num_values} max: {common.max_num_values} }}`, or correct the data",
            bound=f"shape of {size} values",
            condition=Condition(f"x IS NULL OR size <> {size}", of_row=True),
        )  # fmt: skip


def _presence_text(feature: schema_pb2.Feature) -> str:
    limits = [f"{field.name}: {plain_number(value)}" for field, value in feature.presence.ListFields()]
    return f"presence {{ {' '.join(limits)} }}"


def _check_presence(feature: schema_pb2.Feature, common: statistics_pb2.CommonStatistics) -> Iterator[Finding]:
    presence, bound = feature.presence, _presence_text(feature)
    fewer = "The feature was present in fewer examples than expected."
    if common.num_non_missing < presence.min_count:
        yield Finding(
            "FEATURE_TYPE_LOW_NUMBER_PRESENT", "Column dropped", fewer,
            fix=f"in schema.pbtxt change `min_count: {presence.min_count}` of feature {feature.name!r} to "
                f"`min_count: {common.num_non_missing}`, or bring more data",
            bound=bound, condition=_MISSING,
        )  # fmt: skip
    fraction = common.num_non_missing / (common.num_non_missing + common.num_missing)
    if fraction < presence.min_fraction:
        everywhere = f"The feature was expected everywhere, but was missing in {common.num_missing} examples."
        lower = math.floor(fraction * 100) / 100
        yield Finding(
            "FEATURE_TYPE_LOW_FRACTION_PRESENT", "Column dropped",
            everywhere if presence.min_fraction == 1 else fewer,
            fix=f"fill the column in the data, or in schema.pbtxt change `min_fraction: {presence.min_fraction:g}` of "
                f"feature {feature.name!r} to `min_fraction: {lower:g}`",
            bound=bound, condition=_MISSING,
        )  # fmt: skip


def _check_unique(feature: schema_pb2.Feature, stats: statistics_pb2.FeatureNameStatistics) -> Iterator[Finding]:
    limits, unique = feature.unique_constraints, stats.string_stats.unique
    bound = f"unique_constraints {{ min: {limits.min} max: {limits.max} }}"
    if not stats.HasField("string_stats"):
        text = "unique_constraints need strings: for other types, distinct values are only estimated."
        fix = f"in schema.pbtxt remove `{bound}` of feature {feature.name!r}"
        yield Finding("FEATURE_TYPE_NO_UNIQUE", "No unique values", text, fix, bound)
        return
    fix = f"in schema.pbtxt change `{bound}` of feature {feature.name!r}, or correct the data"
    for end, limit, *_ in _exceeded(limits, unique, unique):
        word, allowed = ("Low", "at least") if end == "min" else ("High", "no more than")
        text = f"Expected {allowed} {limit} unique values but found {unique}."
        yield Finding(f"FEATURE_TYPE_{word.upper()}_UNIQUE", f"{word} number of unique values", text, fix, bound)


def _check_domain(
    schema: schema_pb2.Schema, feature: schema_pb2.Feature, stats: statistics_pb2.FeatureNameStatistics
) -> Iterator[Finding]:
    """The values outside the feature's domain, if it has one."""
    kind = feature.WhichOneof("domain_info")
    if kind == "domain":
        domain = next(one for one in schema.string_domain if one.name == feature.domain)
        yield from _check_strings(feature, stats, domain.value, f"string_domain {domain.name!r}")
    elif kind == "string_domain":
        yield from _check_strings(feature, stats, feature.string_domain.value, "its string_domain")
    elif kind == "bool_domain" and stats.HasField("string_stats"):
        words = [feature.bool_domain.true_value, feature.bool_domain.false_value]
        for unknown in list(_unknown_values(stats, words))[:1]:
            yield Finding(
                "BOOL_TYPE_UNEXPECTED_STRING", "Non-boolean values", f"Saw unexpected value: {unknown}.",
                fix=f"correct the data, or in schema.pbtxt replace the bool_domain of feature {feature.name!r} by a "
                    f"string_domain",
                bound=f"bool_domain {{ true_value: {_quoted(words[0])} false_value: {_quoted(words[1])} }}",
                condition=_not_in(words),
            )  # fmt: skip
    elif kind in _RANGE_TYPES:
        yield from _check_range(feature, stats.num_stats, kind)


def _unknown_values(stats: statistics_pb2.FeatureNameStatistics, allowed: Sequence[str]) -> dict[str, float]:
    """Values that are not allowed and their frequencies, most frequent first."""
    buckets, known = stats.string_stats.rank_histogram.buckets, set(allowed)
    return {bucket.label: bucket.sample_count for bucket in buckets if bucket.label not in known}


def _not_in(allowed: Sequence[str]) -> Condition:
    return Condition("v NOT IN (SELECT unnest(?::VARCHAR[]))", (list(allowed),))


def _quoted(text: str) -> str:
    return f'"{text_encoding.CEscape(text.encode(), as_utf8=True)}"'


def _check_strings(
    feature: schema_pb2.Feature, stats: statistics_pb2.FeatureNameStatistics, allowed: Sequence[str], where: str
) -> Iterator[Finding]:
    """TFDV's rule: the share of values inside the domain is at least `min_domain_mass`, 1 by default."""
    total, unknown = stats.string_stats.common_stats.tot_num_values, _unknown_values(stats, allowed)
    constraints = feature.distribution_constraints
    mass = constraints.min_domain_mass if constraints.HasField("min_domain_mass") else 1.0
    if not unknown or (mass < 1 and (total - sum(unknown.values())) / total >= mass):
        return
    listed = ", ".join(f"{value} ({count / total:.1%})" for value, count in list(unknown.items())[:LISTED_VALUES])
    more = f" and {len(unknown) - LISTED_VALUES} more" if len(unknown) > LISTED_VALUES else ""
    most = next(iter(unknown))
    yield Finding(
        "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "Unexpected string values",
        f"Examples contain values missing from the schema: {listed}{more}.",
        fix=f"if the value is right, add `value: {_quoted(most)}` to {where} in schema.pbtxt, or lower "
            f"`min_domain_mass` of feature {feature.name!r} below {mass:g}; else correct the data",
        bound=f"{len(allowed)} values, min_domain_mass: {mass:g}", condition=_not_in(allowed), example=most,
    )  # fmt: skip


def _check_range(
    feature: schema_pb2.Feature, numbers: statistics_pb2.NumericStatistics, kind: str
) -> Iterator[Finding]:
    """One finding for each bound that values exceed, and for NaN and infinities where they are disallowed."""
    is_bool, is_float = kind == "bool_domain", kind == "float_domain"
    limits = schema_pb2.IntDomain(min=0, max=1) if is_bool else getattr(feature, kind)
    has_numbers = any(len(one.buckets) for one in numbers.histograms)
    for end, limit, value, sign in _exceeded(limits, numbers.min, numbers.max) if has_numbers else ():
        bound, found = plain_number(limit), plain_number(value)
        fix = f"in schema.pbtxt change `{end}: {bound}` in the {kind} of feature {feature.name!r} to `{end}: {found}`"
        if is_bool:
            fix = f"in schema.pbtxt replace the bool_domain of feature {feature.name!r} by an int_domain"
        yield Finding(
            _RANGE_TYPES[kind][end], "Out-of-range values",
            f"Unexpectedly {'small' if sign == '<' else 'large'} value: {found}.",
            fix=f"correct the data, or, if the values are right, {fix}", bound=f"{kind} {{ {end}: {bound} }}",
            # NaN is greater than everything in SQL.
            condition=Condition(f"v {sign} ?" + (" AND NOT isnan(v)" if is_float else ""), (limit,)),
        )  # fmt: skip
    has_nan = any(one.num_nan for one in numbers.histograms)
    has_inf = math.isinf(numbers.min) or math.isinf(numbers.max)
    for what, found_any in (("NaN", has_nan), ("Inf", has_inf)):
        rule = f"disallow_{what.lower()}"
        if is_float and found_any and getattr(limits, rule):
            yield Finding(
                f"FLOAT_TYPE_HAS_{what.upper()}", f"{what} values", f"Float feature has {what} values.",
                fix=f"correct the data, or in schema.pbtxt remove `{rule}: true` of feature {feature.name!r}",
                bound=f"float_domain {{ {rule}: true }}", condition=Condition(f"is{what.lower()}(v)"),
            )  # fmt: skip
