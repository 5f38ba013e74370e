"""Makes the form of a model: of a version in the store all that is known, of a server's signature names and types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from serving.client.rows import rows_of_examples
from serving.predict_page.form import Field, Form
from slipway.data.schema import FILE as SCHEMA_FILE
from slipway.data.schema import model_inputs, parse_schema
from slipway.data.tensors import DType, dtype_of, fixed_shape, is_list
from slipway.errors import SlipwayError, StoreError
from slipway.evaluation.golden import read_golden
from slipway.monitoring.baseline import Baseline
from slipway.monitoring.counts import MOST_VALUES, Counts
from slipway.stores import storage

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

    from slipway.module_api import ModuleConfig
    from slipway.stores.model_store import ModelStore, Version

SAMPLE_ROWS = 10
MOST_CHOICES = 100
FEW_NUMBERS = 12  # whole numbers that are chosen, not typed
UNIT = "unit="  # begins the tag of a feature's annotation that names its unit
_WRITTEN = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M")
_UNITS = {"UNIX_SECONDS": "seconds", "UNIX_MILLISECONDS": "milliseconds", "UNIX_MICROSECONDS": "microseconds",
          "UNIX_NANOSECONDS": "nanoseconds"}  # fmt: skip


def form_of_version(store: ModelStore, version: Version, config: ModuleConfig | None) -> Form:
    """The form of a stored version: its schema, real rows of its evaluation, and what its baseline counted.

    Args:
        store: Where it is.
        version: The version.
        config: Of its module, if that is on this machine: its description is the question that the model answers.

    Raises:
        StoreError: the version's schema is not there any more.
    """
    schema = _schema_of(version)
    baseline = _baseline_of(store, version)
    rows = _rows_of(version)
    fields = [
        describe_field(feature, schema, baseline.features.get(feature.name) if baseline else None, rows)
        for feature in model_inputs(schema)
    ]
    metrics = baseline.metrics[0].candidate if baseline and baseline.metrics else {}
    return Form(
        model=version.model,
        version=version.number,
        question=config.description if config else "",
        label=baseline.label if baseline else "",
        fields=tuple(fields),
        rows=tuple({field.name: field.write(row.get(field.name)) for field in fields} for row in rows),
        usual_error=metrics.get("mae"),
    )


def form_of_signature(model: str, features: Sequence[schema_pb2.Feature]) -> Form:
    """The form of a model of which nothing but its signature is known: `serving.client.rows.input_features`."""
    return Form(model=model, fields=tuple(describe_field(feature) for feature in features))


def describe_field(
    feature: schema_pb2.Feature,
    schema: schema_pb2.Schema | None = None,
    counts: Counts | None = None,
    rows: Sequence[Mapping[str, Any]] = (),
) -> Field:
    """One input: of its feature, and where they are known of the schema's domains, of training's counts, of rows."""
    choices, is_open = _choices_of(feature, schema, counts)
    low, high = _bounds_of(feature)
    typical, next_typical = typical_of(counts, dtype_of(feature)) if counts else ("", "")
    return Field(
        name=feature.name,
        dtype=dtype_of(feature),
        shape=fixed_shape(feature),
        many=is_list(feature),
        description=" ".join(feature.annotation.comment),
        unit=next((tag.removeprefix(UNIT) for tag in feature.annotation.tag if tag.startswith(UNIT)), ""),
        choices=choices,
        is_open=is_open,
        low=low,
        high=high,
        moment=_moment_of(feature, rows),
        required=feature.presence.min_fraction == 1,
        saw_missing=bool(counts.counts[-1]) if counts else None,
        typical=typical,
        next_typical=next_typical,
    )


def typical_of(counts: Counts, dtype: DType) -> tuple[str, str]:
    """The median of the training rows' numbers, or their most frequent text; and the most frequent value but that.

    Either is empty where there is none. The median is exact: numbers with few values are counted value by value, and of
    others it is one of the deciles that the cells lie between, the last with less than half below it.
    """
    cells, counted = counts.cells, counts.counts[:-2]
    if not sum(counted):
        return "", ""
    if cells.kind == "number":
        return _median(cells.edges, counted), ""
    times = dict(zip(cells.values, counted, strict=True))
    typical = max(times, key=times.__getitem__)
    if dtype != "string":
        in_order = sorted(times, key=float)
        reached = accumulate(times[value] for value in in_order)
        typical = next(value for value, many in zip(in_order, reached, strict=True) if many >= sum(counted) / 2)
    others = [value for value, many in times.items() if value != typical and many]
    return typical, max(others, key=times.__getitem__, default="")


def _median(edges: Sequence[float], counted: Sequence[int]) -> str:
    below, median = 0, ""
    for edge, many in zip(edges, counted, strict=False):
        below += many
        if below < sum(counted) / 2:
            median = _number(edge)
    return median or (_number(edges[0]) if edges else "")


def _number(value: float) -> str:
    """A whole number in full, since it may be an identifier; another in as many digits as float32 has."""
    return f"{value:.0f}" if value.is_integer() else f"{value:.7g}"


def _choices_of(
    feature: schema_pb2.Feature, schema: schema_pb2.Schema | None, counts: Counts | None
) -> tuple[tuple[str, ...], bool]:
    """Values to choose from, and whether others may be typed."""
    kind = feature.WhichOneof("domain_info")
    if kind == "bool_domain":
        own = feature.bool_domain
        return (own.true_value or "1", own.false_value or "0"), False
    if kind == "int_domain" and 0 <= feature.int_domain.max - feature.int_domain.min < FEW_NUMBERS:
        return tuple(map(str, range(feature.int_domain.min, feature.int_domain.max + 1))), False
    if kind in ("domain", "string_domain") and schema:
        named = {one.name: one for one in schema.string_domain}
        domain = named[feature.domain] if kind == "domain" else feature.string_domain
        mass = feature.distribution_constraints
        return tuple(domain.value), feature.HasField("distribution_constraints") and mass.min_domain_mass < 1
    if dtype_of(feature) == "string" and counts and counts.cells.kind == "category":
        seen = counts.cells.values
        repeated = len(seen) < MOST_VALUES and 2 * len(seen) <= sum(counts.counts[:-2])
        return (tuple(sorted(seen)), True) if repeated and len(seen) <= MOST_CHOICES else ((), True)
    return (), True


def _bounds_of(feature: schema_pb2.Feature) -> tuple[int | float | None, int | float | None]:
    kind = feature.WhichOneof("domain_info")
    if kind not in ("int_domain", "float_domain"):
        return None, None
    domain = getattr(feature, kind)
    return tuple(getattr(domain, end) if domain.HasField(end) else None for end in ("min", "max"))  # type: ignore[return-value]


def _moment_of(feature: schema_pb2.Feature, rows: Sequence[Mapping[str, Any]]) -> str:
    """A unit or a format, if the feature is a time: by its schema, or as the rows write it."""
    if feature.WhichOneof("domain_info") == "time_domain":
        domain = feature.time_domain
        if domain.HasField("string_format"):
            return str(domain.string_format)
        return _UNITS.get(type(domain).IntegerTimeFormat.Name(domain.integer_format), "")
    if dtype_of(feature) != "string":
        return ""
    seen = [str(row[feature.name]) for row in rows if feature.name in row]
    return next((one for one in _WRITTEN if seen and all(_is_written(text, one) for text in seen)), "")


def _is_written(text: str, form: str) -> bool:
    try:
        return datetime.strptime(text, form).strftime(form) == text
    except ValueError:
        return False


def _schema_of(version: Version) -> schema_pb2.Schema:
    uri = storage.join(version.manifest.artifacts.get("schema", version.uri), SCHEMA_FILE)
    try:
        return parse_schema(storage.read_text(uri), uri)
    except SlipwayError as error:
        raise StoreError(
            f"the schema of version {version.number} of {version.model} cannot be read any more: {error}"
        ) from error


def _baseline_of(store: ModelStore, version: Version) -> Baseline | None:
    try:
        return Baseline.model_validate_json(store.baseline(version))
    except (StoreError, ValueError):  # pushed by a release that wrote none, or another
        return None


def _rows_of(version: Version) -> list[dict[str, Any]]:
    """A few real rows, those with the most values first; none of a model that another tool made."""
    try:
        rows = rows_of_examples(read_golden(version.uri).serialized())
    except (SlipwayError, ValueError):
        return []
    distinct = list({json.dumps(row, sort_keys=True, default=str): row for row in rows}.values())
    return sorted(distinct, key=len, reverse=True)[:SAMPLE_ROWS]
