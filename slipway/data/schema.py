"""The schema of the examples: read, written, inferred from statistics, and checked if a person wrote it.

The label, the columns known only after the outcome, the weight and the group of the split carry
`not_in_environment: "SERVING"`, TFX's convention.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from slipway.data.statistics.describe import common_stats, feature_name, image_shape
from slipway.errors import ConfigError
from slipway.stores import storage
from slipway.strict_yaml import nearest

if TYPE_CHECKING:
    from slipway.module_api import Label

FILE = "schema.pbtxt"
TRAINING, SERVING = "TRAINING", "SERVING"
# TFDV's limit. A domain is a list that a person reads and keeps up to date; with more values, new ones are normal:
# they call for a vocabulary with room for unknown values, not for an error.
MAX_DOMAIN_VALUES = 100
# A column in which values hardly repeat holds names or identifiers: the next rows will hold others.
MIN_VALUE_REPEATS = 2
# Which domains go with which type, of those that are checked; the others (URL, image, …) say nothing about values.
_DOMAIN_TYPES = {
    "domain": ("BYTES",),
    "string_domain": ("BYTES",),
    "int_domain": ("INT",),
    "float_domain": ("FLOAT",),
    "bool_domain": ("INT", "BYTES"),
}


def parse_schema(text: str, source: str = FILE) -> schema_pb2.Schema:
    """A schema from its text form.

    Raises:
        ConfigError: the text is not a schema; the message has the line.
    """
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise ConfigError(f"{source}:{error.GetLine()}: not a tensorflow_metadata Schema: {error}") from error


def read_schema(artifact_path: str | Path) -> schema_pb2.Schema:
    """The schema of an artifact of infer_schema."""
    path = Path(artifact_path) / FILE
    return parse_schema(path.read_text(encoding="utf-8"), str(path))


def digest_schema(artifact_path: str | Path) -> str:
    """SHA-256 of the schema of an artifact of infer_schema."""
    return hashlib.sha256((Path(artifact_path) / FILE).read_bytes()).hexdigest()


def model_inputs(schema: schema_pb2.Schema) -> list[schema_pb2.Feature]:
    """The features that a model may see when it serves, in the schema's order."""
    return [
        feature
        for feature in schema.feature
        if SERVING not in feature.not_in_environment
        and (not feature.in_environment or SERVING in feature.in_environment)
    ]


def write_schema(schema: schema_pb2.Schema, artifact_path: str | Path) -> None:
    """Writes `schema.pbtxt`, atomically; equal schemas are equal bytes."""
    storage.write_text(storage.join(str(artifact_path), FILE), text_format.MessageToString(schema, as_utf8=True))


def infer_schema(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    label: Label | None = None,
    group: str = "",
    bounds: schema_pb2.Schema | None = None,
) -> schema_pb2.Schema:
    """The schema that these statistics suggest, with the marks that the pipeline needs.

    TFDV's rules (`schema.cc`, `feature_util.cc`, `string_domain_util.cc`): a feature that no example lacks is required
    everywhere, any other has no minimum fraction; a value count that never varies is fixed; a string with few distinct
    values gets a domain. What differs: all splits count, not only train, so that the data a schema was inferred from
    passes it; and a list of fixed length gets a `shape`, so that the module sees a dense tensor.

    Without a label nothing is marked as absent when serving. `group` is the column of a split by group. A schema that
    has `bounds` but no features gives the rest: its constraints on the data set as a whole.

    Raises:
        ConfigError: the data lacks the label, or a column known only after the outcome.
    """
    schema = schema_pb2.Schema()
    if bounds is not None:
        schema.CopyFrom(bounds)
    by_name: dict[str, list[statistics_pb2.FeatureNameStatistics]] = {}
    for dataset in statistics.datasets:
        for feature in dataset.features:
            by_name.setdefault(feature_name(feature), []).append(feature)
    for name, described in by_name.items():
        types = {described[0].INT: schema_pb2.INT, described[0].FLOAT: schema_pb2.FLOAT}
        feature = schema.feature.add(name=name, type=types.get(described[0].type, schema_pb2.BYTES))
        _infer_presence(feature, described)
        _infer_domain(schema, feature, described)
    _mark_environments(schema, label, group, "the data")
    return schema


def fewest_rows(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> int:
    """A lower bound of the rows in each split: a fifth of the smaller one, so that a tenth of these data is too few."""
    return max(1, math.ceil(min((one.num_examples for one in statistics.datasets), default=0) / 5))


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
        for size in image_shape(described[0]) or (low,):
            feature.shape.dim.add(size=size)
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


def read_curated_schema(text: str, label: Label | None, group: str = "") -> schema_pb2.Schema:
    """A module's `schema.pbtxt`, with the marks of label and group, if they are given, added where they lack.

    One without features has bounds of the data set only, and nothing to mark: the features are inferred.

    Raises:
        ConfigError: it does not parse (the message has the line), contradicts itself, or lacks the label.
    """
    schema = parse_schema(text)
    problems = list(_find_problems(schema))
    if problems:
        raise ConfigError("\n".join(f"{FILE}: {problem}" for problem in problems))
    if schema.feature:
        _mark_environments(schema, label, group, FILE)
    return schema


def _mark_environments(schema: schema_pb2.Schema, label: Label | None, group: str, source: str) -> None:
    """Declares both environments, and marks features that are unknown when serving with `not_in_environment`."""
    for environment in (TRAINING, SERVING):
        if environment not in schema.default_environment:
            schema.default_environment.append(environment)
    if label is None:
        return
    features = {feature.name: feature for feature in schema.feature}
    curated = source == FILE
    named = [(label.column, "label.column")]
    others = [(name, "label.training_only") for name in label.training_only]
    others += [(name, key) for name, key in ((label.weight, "label.weight"), (group, "split.column")) if name]
    # A curated schema need not have the columns that no model sees.
    named += [(name, key) for name, key in others if name in features or not curated]
    for name, key in named:
        if name not in features:
            fix = f"add the feature to {FILE}, or correct {key} in module.yaml" if curated else f"correct {key}"
            rest = " It lists all features or none: `slipway schema infer --data FILE` writes it." if curated else ""
            raise ConfigError(
                f"{source} has no feature {name!r}, which {key} names{nearest(name, features)}. Or {fix}.{rest}"
            )
        feature = features[name]
        if SERVING in feature.in_environment:
            raise ConfigError(f'{source}: feature {name!r} is in_environment: "{SERVING}", but {key} of '
                              f"module.yaml keeps it from the model; remove that line")  # fmt: skip
        if SERVING not in feature.not_in_environment:
            feature.not_in_environment.append(SERVING)


def _find_problems(schema: schema_pb2.Schema) -> Iterator[str]:
    for name, count in sorted(Counter(feature.name for feature in schema.feature).items()):
        if count > 1:
            yield f"feature {name!r} is given {count} times; keep one"
    if schema.dataset_constraints.HasField("num_examples_version_comparator"):
        yield (
            "num_examples_version_comparator is not supported, since data have no versions here; "
            "use num_examples_drift_comparator, which compares with the run before"
        )
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
