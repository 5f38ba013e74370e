"""Drift (this run's train split against the run before) and skew (eval against train), by the schema's comparators.

Types and texts follow TensorFlow Data Validation's `feature_util.cc`. TFDV's skew compares training with serving data;
within a run, the eval split stands for what the model will meet, so skew compares train with eval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.data.statistics.describe import feature_name
from slipway.data.validation.distances import align_counts, align_histograms, jensen_shannon, l_infinity
from slipway.data.validation.features import is_checked
from slipway.data.validation.finding import Finding
from slipway.data.validation.report import Comparison, Kind, Measure

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

# The two sides of a comparison: for drift in TFDV's words, for skew in ours.
_CONTEXTS = {"drift": ("current", "previous"), "skew": ("eval", "train")}


@dataclass(frozen=True)
class Compared:
    """One comparison, and the finding if it is too far."""

    feature: str
    comparison: Comparison | None
    finding: Finding | None


def compare_datasets(
    schema: schema_pb2.Schema,
    treatment: statistics_pb2.DatasetFeatureStatistics,
    control: statistics_pb2.DatasetFeatureStatistics,
    kind: Kind,
) -> Iterator[Compared]:
    """All comparators of this kind in the schema, on the features of the treatment."""
    treated = {feature_name(one): one for one in treatment.features}
    controls = {feature_name(one): one for one in control.features}
    for feature in schema.feature:
        comparator = feature.drift_comparator if kind == "drift" else feature.skew_comparator
        if feature.name not in treated or not is_checked(feature):
            continue
        for measure, threshold in _thresholds(comparator):
            stats, against = treated[feature.name], controls.get(feature.name)
            measured = against and _measure(measure, comparator, stats, against)
            if measured:
                value, most = measured
                comparison = Comparison(
                    feature=feature.name, kind=kind, measure=measure, value=value, threshold=threshold
                )
                finding = _too_far(comparison, most) if value > threshold else None
                yield Compared(feature.name, comparison, finding)
            elif _has_values(stats):
                yield Compared(feature.name, None, _nothing_to_compare(feature.name, kind))


def _thresholds(comparator: schema_pb2.FeatureComparator) -> Iterator[tuple[Measure, float]]:
    if comparator.infinity_norm.HasField("threshold"):
        yield "L_INFTY", comparator.infinity_norm.threshold
    if comparator.jensen_shannon_divergence.HasField("threshold"):
        yield "JENSEN_SHANNON_DIVERGENCE", comparator.jensen_shannon_divergence.threshold


def _measure(
    measure: Measure,
    comparator: schema_pb2.FeatureComparator,
    stats: statistics_pb2.FeatureNameStatistics,
    against: statistics_pb2.FeatureNameStatistics,
) -> tuple[float, str] | None:
    """The distance, and for strings the value that differs most; None if a side has no values."""
    counts, control_counts = _counts(stats), _counts(against)
    if measure == "L_INFTY":
        if not counts or not control_counts:
            return None
        most, distance = l_infinity(counts, control_counts)
        return distance, most
    if counts and control_counts:
        return jensen_shannon(*align_counts(counts, control_counts)), ""
    # TFDV's default is the standard histogram.
    kind = 1 if comparator.jensen_shannon_divergence.source.type == 1 else 0
    histograms = [_histogram(one, kind) for one in (stats, against)]
    if histograms[0] is None or histograms[1] is None:
        return None
    return jensen_shannon(*align_histograms(histograms[0], histograms[1])), ""


def _counts(stats: statistics_pb2.FeatureNameStatistics) -> dict[str, float]:
    return {bucket.label: bucket.sample_count for bucket in stats.string_stats.rank_histogram.buckets}


def _histogram(stats: statistics_pb2.FeatureNameStatistics, kind: int) -> statistics_pb2.Histogram | None:
    found = next((one for one in stats.num_stats.histograms if one.type == kind), None)
    return found if found is not None and (found.buckets or found.num_nan) else None


def _has_values(stats: statistics_pb2.FeatureNameStatistics) -> bool:
    return bool(_counts(stats)) or _histogram(stats, 0) is not None


def _too_far(comparison: Comparison, most: str) -> Finding:
    treatment, control = _CONTEXTS[comparison.kind]
    six = "(up to six significant digits), above the threshold"
    higher = math.ceil(comparison.value * 100) / 100
    block = "infinity_norm" if comparison.measure == "L_INFTY" else "jensen_shannon_divergence"
    bound = f"{comparison.kind}_comparator {{ {block} {{ threshold: {comparison.threshold:g} }} }}"
    look = f"compare the feature in the statistics of both {'runs' if comparison.kind == 'drift' else 'splits'}"
    fix = f"{look}; if the change is real and right, change the threshold of feature {comparison.feature!r} " \
          f"in schema.pbtxt to `threshold: {higher:g}`"  # fmt: skip
    if comparison.measure == "L_INFTY":
        short, example = f"Linfty distance between {treatment} and {control}", most
        rest = f" The feature value with maximum difference is: {most}"
    else:
        short, example, rest = f"approximate Jensen-Shannon divergence between {treatment} and {control}", None, ""
    description = f"The {short} is {comparison.value:g} {six} {comparison.threshold:g}.{rest}"
    return Finding(f"COMPARATOR_{comparison.measure}_HIGH", f"High {short}", description, fix, bound, example=example)


def _nothing_to_compare(name: str, kind: Kind) -> Finding:
    control = _CONTEXTS[kind][1]
    return Finding(
        "COMPARATOR_CONTROL_DATA_MISSING", f"{control} data missing", f"{control} data is missing.",
        fix=f"nothing, if feature {name!r} is new: it is compared from the next run on",
    )  # fmt: skip
