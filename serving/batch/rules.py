"""What the schema asks of each row: rows that break it are not predicted; and of the data as a whole.

A row breaks its schema if it has a value outside a domain or a range, too few or too many values, or none where all
rows must have one. Training refuses data for one such row. Here it goes to quarantine, unless there are more than
`ingestion.max_quarantined` allows. What no row alone can break, such as the share of missing values, is judged by
validation itself, from counts of all rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from slipway.data.schema import SERVING
from slipway.data.tensors import fixed_shape
from slipway.data.validation.features import (
    LARGEST_FLOAT,
    check_feature,
    exact_limit,
    is_checked,
    is_required,
    plain_number,
)
from slipway.data.validation.finding import Finding
from slipway.data.validation.report import Anomaly
from slipway.data.validation.validate import missing_column

SHOWN = 60  # letters of a value


@dataclass(frozen=True)
class Breach:
    """Rows that break one rule."""

    feature: str
    bound: str
    rows: list[int]
    values: list[str]

    @property
    def reasons(self) -> list[str]:
        """In words, for each row."""
        return [f"{self.feature}: {value} is not {self.bound}, as the schema asks" for value in self.values]


class Rules:
    """The rules of a schema's features."""

    def __init__(self, schema: schema_pb2.Schema) -> None:
        self._rules = {one.name: list(_rules_of(one, schema)) for one in schema.feature if is_checked(one)}

    def breaches(self, rows: pa.RecordBatch) -> Iterator[Breach]:
        """Rows that break them, rule by rule."""
        there = set(rows.schema.names)
        for name, rules in self._rules.items():
            if name not in there:
                continue
            column = rows.column(name)
            for rule in rules:
                if places := rule.broken(column):
                    found = column.take(pa.array(places)).to_pylist()
                    shown = ["a missing value" if one is None else f"{one!r}"[:SHOWN] for one in found]
                    yield Breach(name, rule.bound, places, shown)


@dataclass(frozen=True)
class _Rule:
    """Asks something of the values, or of the row: that it has a value (`present`), or how many (`fewest`, `most`)."""

    kind: Literal["present", "fewest", "most", "min", "max", "size", "in"]
    bound: str
    limit: Any = None

    def broken(self, column: pa.Array) -> list[int]:
        """Places of the rows that break it."""
        is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        if self.kind == "present":
            return _places(pc.is_null(column))
        if self.kind in ("fewest", "most"):
            sizes = pc.list_value_length(column) if is_list else pa.nulls(len(column), pa.int32())
            return _places((pc.less if self.kind == "fewest" else pc.greater)(sizes, self.limit))
        if is_list:
            parents = pc.list_parent_indices(column)
            return sorted({parents[index].as_py() for index in self._wrong(column.flatten())})
        return self._wrong(column)

    def _wrong(self, values: pa.Array) -> list[int]:
        if self.kind == "min":
            return _places(pc.less(values, self.limit))
        if self.kind == "max":
            return _places(pc.greater(values, self.limit))
        if self.kind == "size":
            return _places(pc.greater(pc.abs(values), self.limit))
        return _places(pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=self.limit))))


def _places(mask: pa.Array) -> list[int]:
    places: list[int] = pc.indices_nonzero(mask).to_pylist() if pc.any(mask).as_py() else []
    return places


def _rules_of(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> Iterator[_Rule]:
    if is_required(schema, feature, SERVING) and feature.presence.min_fraction == 1:
        yield _Rule("present", "a value, which each row must have")
    count = feature.value_count
    if feature.HasField("shape"):
        size = math.prod(fixed_shape(feature))
        yield from (_Rule("fewest", f"of {size} values", size), _Rule("most", f"of {size} values", size))
    if count.HasField("min"):
        yield _Rule("fewest", f"of {count.min} values at least", count.min)
    if count.HasField("max"):
        yield _Rule("most", f"of {count.max} values at most", count.max)
    kind, is_number = feature.WhichOneof("domain_info"), feature.type != schema_pb2.BYTES
    limits = schema_pb2.IntDomain(min=0, max=1) if kind == "bool_domain" else getattr(feature, kind or "int_domain")
    if is_number and kind in ("int_domain", "float_domain", "bool_domain"):
        for end, word in (("min", "at least"), ("max", "at most")):
            if limits.HasField(end):
                limit = exact_limit(limits, end)
                yield _Rule("min" if end == "min" else "max", f"{word} {plain_number(limit)}", limit)
    elif not is_number and (words := _domain(feature, schema)):
        yield _Rule("in", f"one of the {len(words)} values of its domain", pa.array(words, pa.string()))
    if feature.type == schema_pb2.FLOAT:
        floats = feature.float_domain
        if floats.disallow_inf or not floats.HasField("disallow_inf"):
            yield _Rule("size", f"a finite number of 32 bits, at most {LARGEST_FLOAT:.4g}", LARGEST_FLOAT)


def _domain(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> list[str]:
    """The values that each row must keep to; none where a share of others is allowed, which no row breaks alone."""
    kind, constraints = feature.WhichOneof("domain_info"), feature.distribution_constraints
    if constraints.HasField("min_domain_mass") and constraints.min_domain_mass < 1:
        return []
    if kind == "domain":
        return [value for one in schema.string_domain if one.name == feature.domain for value in one.value]
    if kind == "bool_domain":
        return [feature.bool_domain.true_value, feature.bool_domain.false_value]
    return list(feature.string_domain.value) if kind == "string_domain" else []


@dataclass
class Tally:
    """Counts of the rows that break no rule, as validation takes them."""

    schema: schema_pb2.Schema
    rows: int = 0
    columns: dict[str, _Counted] = field(default_factory=dict)

    def add(self, rows: pa.RecordBatch) -> None:
        """Counts a batch."""
        self.rows += rows.num_rows
        there = set(rows.schema.names)
        for feature in self.schema.feature:
            if feature.name in there:
                has_domain = feature.WhichOneof("domain_info") in ("domain", "string_domain", "bool_domain")
                counted = self.columns.setdefault(feature.name, _Counted())
                counted.add(rows.column(feature.name), texts=has_domain or feature.HasField("unique_constraints"))

    def anomalies(self, new: Sequence[str]) -> Iterator[Anomaly]:
        """What training would refuse; `new` are columns of the data that the model does not know."""
        for feature in self.schema.feature:
            findings: Iterable[Finding] = ()
            if feature.name in self.columns:
                stats = self.columns[feature.name].statistics(feature.name)
                findings = check_feature(self.schema, feature, stats, SERVING)
            elif is_required(self.schema, feature, SERVING):
                findings = [missing_column(feature, list(new), self.rows)]
            for one in findings:
                yield Anomaly(
                    feature=feature.name, split="", severity=one.severity, type=one.type, short=one.short,
                    description=one.description, rows=one.rows, of_rows=self.rows, example=one.example,
                    bound=one.bound, fix=one.fix,
                )  # fmt: skip


@dataclass
class _Counted:
    """One column."""

    missing: int = 0
    present: int = 0
    fewest: int | None = None
    most: int = 0
    values: int = 0
    low: float = math.inf
    high: float = -math.inf
    kind: str = "STRING"
    texts: Counter[str] = field(default_factory=Counter)

    def add(self, column: pa.Array, *, texts: bool) -> None:
        rows, missing = len(column), column.null_count
        self.missing, self.present = self.missing + missing, self.present + rows - missing
        sizes = (1, 1) if rows > missing else None
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            found = pc.min_max(pc.list_value_length(column)).as_py()
            sizes = (found["min"], found["max"]) if found["min"] is not None else None
            column = column.flatten()
        if sizes:
            self.fewest = sizes[0] if self.fewest is None else min(self.fewest, sizes[0])
            self.most = max(self.most, sizes[1])
        self.values += len(column) - column.null_count
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            self.kind = "INT" if pa.types.is_integer(column.type) else "FLOAT"
            found = pc.min_max(column).as_py()
            if found["min"] is not None:
                self.low, self.high = min(self.low, found["min"]), max(self.high, found["max"])
        elif texts and not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
            for one in pc.value_counts(column.drop_null()).to_pylist():
                self.texts[one["values"]] += one["counts"]

    def statistics(self, name: str) -> statistics_pb2.FeatureNameStatistics:
        """The counts as tensorflow-metadata has them, as far as the checks of features read them."""
        stats = statistics_pb2.FeatureNameStatistics(type=self.kind)
        stats.path.step.append(name)
        common = statistics_pb2.CommonStatistics(
            num_missing=self.missing, num_non_missing=self.present, min_num_values=self.fewest or 0,
            max_num_values=self.most, tot_num_values=self.values,
        )  # fmt: skip
        if self.kind == "STRING":
            stats.string_stats.common_stats.CopyFrom(common)
            stats.string_stats.unique = len(self.texts)
            for value, count in self.texts.most_common():
                stats.string_stats.rank_histogram.buckets.add(label=value, sample_count=count)
        else:
            stats.num_stats.common_stats.CopyFrom(common)
            if self.low <= self.high:
                stats.num_stats.min, stats.num_stats.max = self.low, self.high
                stats.num_stats.histograms.add(num_nan=0).buckets.add()
        return stats
