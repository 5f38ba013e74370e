"""Checks the values of a feature against the schema's domain.

Types and texts follow TensorFlow Data Validation's `string_domain_util.cc`, `int_domain_util.cc`,
`float_domain_util.cc` and `bool_domain_util.cc`. Float bounds are compared as the decimal number that the schema
spells: it stores them in 32 bits, so that 0.1 would otherwise be more than 0.1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from slipway.data.validation.finding import Condition, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

LISTED_VALUES = 10
_RANGE_TYPES = {
    "bool_domain": ("BOOL_TYPE_SMALL_INT", "BOOL_TYPE_BIG_INT"),
    "int_domain": ("INT_TYPE_SMALL_INT", "INT_TYPE_BIG_INT"),
    "float_domain": ("FLOAT_TYPE_SMALL_FLOAT", "FLOAT_TYPE_BIG_FLOAT"),
}


def check_domain(
    schema: schema_pb2.Schema, feature: schema_pb2.Feature, stats: statistics_pb2.FeatureNameStatistics
) -> Iterator[Finding]:
    """The values outside the feature's domain, if it has one."""
    kind, numbers = feature.WhichOneof("domain_info"), stats.num_stats
    if kind == "domain":
        domain = next(one for one in schema.string_domain if one.name == feature.domain)
        yield from _check_strings(feature, stats, list(domain.value), f"string_domain {domain.name!r}")
    elif kind == "string_domain":
        yield from _check_strings(feature, stats, list(feature.string_domain.value), "its string_domain")
    elif kind == "bool_domain" and stats.HasField("num_stats"):
        yield from _check_range(feature, numbers, 0, 1, kind)
    elif kind == "bool_domain":
        yield from _check_bools(feature, stats)
    elif kind in ("int_domain", "float_domain"):
        bounds = getattr(feature, kind)
        low, high = (_as_written(bounds, end) if bounds.HasField(end) else None for end in ("min", "max"))
        yield from _check_range(feature, numbers, low, high, kind)
    if kind == "float_domain":
        yield from _check_disallowed(feature, numbers)


def _check_strings(
    feature: schema_pb2.Feature, stats: statistics_pb2.FeatureNameStatistics, allowed: list[str], where: str
) -> Iterator[Finding]:
    """TFDV's rule: the share of values inside the domain is at least `min_domain_mass`, 1 by default."""
    total = stats.string_stats.common_stats.tot_num_values
    known = set(allowed)
    unknown = {
        bucket.label: bucket.sample_count
        for bucket in stats.string_stats.rank_histogram.buckets
        if bucket.label not in known
    }
    constraints = feature.distribution_constraints
    mass = constraints.min_domain_mass if constraints.HasField("min_domain_mass") else 1.0
    if not unknown or (mass < 1 and (total - sum(unknown.values())) / total >= mass):
        return
    listed = ", ".join(f"{value} ({_percent(count / total)})" for value, count in list(unknown.items())[:LISTED_VALUES])
    more = f" and {len(unknown) - LISTED_VALUES} more" if len(unknown) > LISTED_VALUES else ""
    most = next(iter(unknown))
    yield Finding(
        "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "Unexpected string values",
        f"Examples contain values missing from the schema: {listed}{more}.",
        fix=f"if the value is right, add `value: {_quoted(most)}` to {where} in schema.pbtxt, or lower "
            f"`min_domain_mass` of feature {feature.name!r} below {mass:g}; else correct the data",
        bound=f"{len(known)} values, min_domain_mass: {mass:g}", condition=_not_in(allowed), example=most,
    )  # fmt: skip


def _check_bools(feature: schema_pb2.Feature, stats: statistics_pb2.FeatureNameStatistics) -> Iterator[Finding]:
    allowed = [feature.bool_domain.true_value, feature.bool_domain.false_value]
    unknown = [bucket.label for bucket in stats.string_stats.rank_histogram.buckets if bucket.label not in allowed]
    if unknown:
        yield Finding(
            "BOOL_TYPE_UNEXPECTED_STRING", "Non-boolean values",
            f"Saw unexpected value: {unknown[0]}.",
            fix=f"correct the data, or in schema.pbtxt replace the bool_domain of feature {feature.name!r} by a "
                f"string_domain",
            bound=f"bool_domain {{ true_value: {_quoted(allowed[0])} false_value: {_quoted(allowed[1])} }}",
            condition=_not_in(allowed),
        )  # fmt: skip


def _check_disallowed(feature: schema_pb2.Feature, numbers: statistics_pb2.NumericStatistics) -> Iterator[Finding]:
    has_nan = bool(numbers.histograms and numbers.histograms[0].num_nan)
    has_inf = math.isinf(numbers.min) or math.isinf(numbers.max)
    for what, found in (("NaN", has_nan), ("Inf", has_inf)):
        rule = f"disallow_{what.lower()}"
        if found and getattr(feature.float_domain, rule):
            yield Finding(
                f"FLOAT_TYPE_HAS_{what.upper()}", f"{what} values", f"Float feature has {what} values.",
                fix=f"correct the data, or in schema.pbtxt remove `{rule}: true` of feature {feature.name!r}",
                bound=f"float_domain {{ {rule}: true }}", condition=Condition(f"is{what.lower()}(v)"),
            )  # fmt: skip


def _check_range(
    feature: schema_pb2.Feature,
    numbers: statistics_pb2.NumericStatistics,
    low: float | None,
    high: float | None,
    domain: str,
) -> Iterator[Finding]:
    """One finding for each bound that values exceed."""
    if not numbers.common_stats.tot_num_values or not any(len(one.buckets) for one in numbers.histograms):
        return
    is_float = domain == "float_domain"
    small, big = _RANGE_TYPES[domain]
    for end, type_, bound, value, sign in (("min", small, low, numbers.min, "<"), ("max", big, high, numbers.max, ">")):
        if bound is None or not (value < bound if sign == "<" else value > bound):
            continue
        limit, found = _plain(bound), _plain(value)
        fix = f"in schema.pbtxt change `{end}: {limit}` in the {domain} of feature {feature.name!r} to `{end}: {found}`"
        if domain == "bool_domain":
            fix = f"in schema.pbtxt replace the bool_domain of feature {feature.name!r} by an int_domain"
        yield Finding(
            type_, "Out-of-range values", _range_text(value, bound, sign, is_float),
            fix=f"correct the data, or, if the values are right, {fix}", bound=f"{domain} {{ {end}: {limit} }}",
            # NaN is greater than everything in SQL.
            condition=Condition(f"v {sign} ?" + (" AND NOT isnan(v)" if is_float else ""), (bound,)),
        )  # fmt: skip


def _range_text(value: float, bound: float, sign: str, is_float: bool) -> str:
    if not is_float:
        return f"Unexpectedly {'small' if sign == '<' else 'large'} value: {int(value)}."
    what = "low values" if sign == "<" else "high value"
    return f"Unexpectedly {what}: {value:g}{sign}{bound:g} (up to six significant digits)"


def _not_in(allowed: list[str]) -> Condition:
    return Condition("v NOT IN (SELECT unnest(?::VARCHAR[]))", (allowed,))


def _as_written(domain: schema_pb2.IntDomain | schema_pb2.FloatDomain, end: str) -> float:
    """A bound; of a 32-bit field the shortest decimal number that it can have been parsed from."""
    bound: float = getattr(domain, end)
    return bound if isinstance(bound, int) else float(str(np.float32(bound)))


def _plain(number: float) -> str:
    return str(number).removesuffix(".0")


def _quoted(text: str) -> str:
    from google.protobuf import text_encoding

    return f'"{text_encoding.CEscape(text.encode(), as_utf8=True)}"'


def _percent(share: float) -> str:
    return "<1%" if share < 0.01 else f"~{math.floor(100 * share)}%"
