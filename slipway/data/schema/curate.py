"""Checks a schema written by a person before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.data.schema.io import FILE, SERVING, TRAINING, parse_schema
from slipway.errors import ConfigError
from slipway.strict_yaml import nearest

if TYPE_CHECKING:
    from slipway.module_api import Label

# Which domains go with which type, of those that are checked; the others (URL, image, …) say nothing about values.
_DOMAIN_TYPES = {
    "domain": ("BYTES",),
    "string_domain": ("BYTES",),
    "int_domain": ("INT",),
    "float_domain": ("FLOAT",),
    "bool_domain": ("INT", "BYTES"),
}


def read_curated_schema(text: str, label: Label | None) -> schema_pb2.Schema:
    """A module's `schema.pbtxt`, with the marks of the label, if it is given, added where they lack.

    Raises:
        ConfigError: it does not parse (the message has the line), contradicts itself, or lacks the label.
    """
    schema = parse_schema(text)
    problems = list(_find_problems(schema))
    if problems:
        raise ConfigError("\n".join(f"{FILE}: {problem}" for problem in problems))
    mark_environments(schema, label, FILE)
    return schema


def mark_environments(schema: schema_pb2.Schema, label: Label | None, source: str) -> None:
    """Marks features that are unknown when serving with `not_in_environment`, and declares both environments.

    Args:
        schema: Changed in place.
        label: The label must be a feature; a column known only after the outcome need not be.
        source: Where the features come from, for the message.

    Raises:
        ConfigError: the label, or a column known only after the outcome, is no feature.
    """
    for environment in (TRAINING, SERVING):
        if environment not in schema.default_environment:
            schema.default_environment.append(environment)
    if label is None:
        return
    features = {feature.name: feature for feature in schema.feature}
    curated = source == FILE
    named = [(label.column, "label.column")]
    # A curated schema need not have the columns that are known only after the outcome.
    named += [(name, "label.training_only") for name in label.training_only if name in features or not curated]
    for name, key in named:
        if name not in features:
            fix = f"add the feature to {FILE}, or correct {key} in module.yaml" if curated else f"correct {key}"
            raise ConfigError(
                f"{source} has no feature {name!r}, which {key} names{nearest(name, features)}. Or {fix}."
            )
        feature = features[name]
        if SERVING in feature.in_environment:
            raise ConfigError(f'{source}: feature {name!r} is in_environment: "{SERVING}", but module.yaml says that '
                              f"it is known only after the outcome; remove that line")  # fmt: skip
        if SERVING not in feature.not_in_environment:
            feature.not_in_environment.append(SERVING)


def _find_problems(schema: schema_pb2.Schema) -> Iterator[str]:
    names = [feature.name for feature in schema.feature]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"feature {name!r} is given {names.count(name)} times; keep one"
    domains = {domain.name for domain in schema.string_domain}
    for feature in schema.feature:
        yield from (f"feature {feature.name!r}: {problem}" for problem in _feature_problems(feature, domains))


def _feature_problems(feature: schema_pb2.Feature, domains: set[str]) -> Iterator[str]:
    type_name = schema_pb2.FeatureType.Name(feature.type)
    if not feature.name:
        yield 'it has no name; add `name: "…"`'
    if type_name not in ("BYTES", "INT", "FLOAT"):
        yield f"type {type_name} is not supported; use BYTES, INT or FLOAT"
    if not 0 <= feature.presence.min_fraction <= 1:
        yield f"presence.min_fraction {feature.presence.min_fraction} is not between 0 and 1"
    if feature.HasField("value_counts") or feature.HasField("group_presence"):
        yield "value_counts and group_presence are for nested features, which examples do not have; use value_count"
    count, kind = feature.value_count, feature.WhichOneof("domain_info")
    if count.HasField("max") and count.max < count.min:
        yield f"value_count.max {count.max} is less than value_count.min {count.min}"
    if kind in _DOMAIN_TYPES and type_name not in _DOMAIN_TYPES[kind]:
        yield f"{kind} does not go with type {type_name}"
    if kind == "domain" and feature.domain not in domains:
        yield f"there is no string_domain {feature.domain!r}; it has {', '.join(sorted(domains)) or 'none'}"
    if feature.HasField("distribution_constraints") and kind not in ("domain", "string_domain"):
        yield "distribution_constraints need a domain of strings"
    for name in ("drift_comparator", "skew_comparator"):
        comparator = getattr(feature, name)
        if comparator.infinity_norm.HasField("threshold") and type_name != "BYTES":
            yield f"{name}.infinity_norm compares strings; use jensen_shannon_divergence for type {type_name}"
        if comparator.HasField("normalized_abs_difference"):
            yield f"{name}.normalized_abs_difference is not supported; use infinity_norm or jensen_shannon_divergence"
