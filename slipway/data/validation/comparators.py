"""Drift (this run's train split against the run before) and skew (eval against train), by the schema's comparators.

TFDV's skew compares training with serving data; within a run, the eval split stands for what the model will meet, so
skew compares train with eval. The distances are those of TensorFlow Data Validation's `metrics.cc` (`LInftyDistance`,
`JensenShannonDivergence`, `AlignHistograms`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from slipway.data.statistics.describe import feature_name
from slipway.data.validation.features import is_checked
from slipway.data.validation.finding import Finding
from slipway.data.validation.report import Comparison, Kind, Measure

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

    Masses = NDArray[np.float64]

# The two sides of a comparison: for drift in TFDV's words, for skew in ours.
_CONTEXTS = {"drift": ("current", "previous"), "skew": ("eval", "train")}
_MEASURES: dict[str, Measure] = {"infinity_norm": "L_INFTY", "jensen_shannon_divergence": "JENSEN_SHANNON_DIVERGENCE"}


def compare_datasets(
    schema: schema_pb2.Schema,
    treatment: statistics_pb2.DatasetFeatureStatistics,
    control: statistics_pb2.DatasetFeatureStatistics,
    kind: Kind,
) -> Iterator[tuple[str, Comparison | None, Finding | None]]:
    """Each comparison of this kind that the schema asks for: the feature, its distance, and the finding, if any."""
    treated = {feature_name(one): one for one in treatment.features}
    controls = {feature_name(one): one for one in control.features}
    for feature in schema.feature:
        if feature.name not in treated or not is_checked(feature):
            continue
        comparator = feature.drift_comparator if kind == "drift" else feature.skew_comparator
        stats, against = treated[feature.name], controls.get(feature.name)
        for block, measure in _MEASURES.items():
            threshold = getattr(comparator, block)
            if not threshold.HasField("threshold"):
                continue
            # TFDV's default is the standard histogram.
            quantiles = measure != "L_INFTY" and comparator.jensen_shannon_divergence.source.type == 1
            measured = measure_distance(measure, stats, against, kind=int(quantiles)) if against else None
            if measured:
                value, most = measured
                comparison = Comparison(
                    feature=feature.name, kind=kind, measure=measure, value=value, threshold=threshold.threshold
                )
                finding = _too_far(comparison, block, most) if value > threshold.threshold else None
                yield feature.name, comparison, finding
            elif _counts(stats) or _histogram(stats, 0):
                missing = f"{_CONTEXTS[kind][1]} data"
                fix = f"nothing, if feature {feature.name!r} is new: it is compared from the next run on"
                finding = Finding(
                    "COMPARATOR_CONTROL_DATA_MISSING", f"{missing} missing", f"{missing} is missing.", fix
                )
                yield feature.name, None, finding


def measure_distance(
    measure: Measure,
    stats: statistics_pb2.FeatureNameStatistics,
    against: statistics_pb2.FeatureNameStatistics,
    kind: int,
) -> tuple[float, str | None] | None:
    """The distance, and for strings the value that differs most; None if a side has no values.

    `kind` is that of the histograms of numbers: 0 STANDARD, 1 QUANTILES.
    """
    counts, control_counts = _counts(stats), _counts(against)
    if measure == "L_INFTY":
        return l_infinity(counts, control_counts) if counts and control_counts else None
    if counts and control_counts:
        return jensen_shannon(*align_counts(counts, control_counts)), None
    histogram, control = _histogram(stats, kind), _histogram(against, kind)
    return (jensen_shannon(*align_histograms(histogram, control)), None) if histogram and control else None


def _counts(stats: statistics_pb2.FeatureNameStatistics) -> dict[str, float]:
    return {bucket.label: bucket.sample_count for bucket in stats.string_stats.rank_histogram.buckets}


def _histogram(stats: statistics_pb2.FeatureNameStatistics, kind: int) -> statistics_pb2.Histogram | None:
    """The one with values: a window of requests may have all of them outside of training's cells."""
    known = (one for one in stats.num_stats.histograms if one.type == kind)
    return next((one for one in known if one.num_nan or any(each.sample_count for each in one.buckets)), None)


def _too_far(comparison: Comparison, block: str, most: str | None) -> Finding:
    treatment, control = _CONTEXTS[comparison.kind]
    higher = math.ceil(comparison.value * 100) / 100
    bound = f"{comparison.kind}_comparator {{ {block} {{ threshold: {comparison.threshold:g} }} }}"
    look = f"compare the feature in the statistics of both {'runs' if comparison.kind == 'drift' else 'splits'}"
    fix = f"{look}; if the change is real and right, change the threshold of feature {comparison.feature!r} " \
          f"in schema.pbtxt to `threshold: {higher:g}`"  # fmt: skip
    name = "Linfty distance" if most is not None else "approximate Jensen-Shannon divergence"
    short = f"{name} between {treatment} and {control}"
    description = f"The {short} is {comparison.value:g}, above the threshold {comparison.threshold:g}."
    if most is not None:
        description += f" The feature value with maximum difference is: {most}"
    return Finding(f"COMPARATOR_{comparison.measure}_HIGH", f"High {short}", description, fix, bound, example=most)


def l_infinity(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[float, str]:
    """The largest difference of one value's share, and that value.

    Each side is divided by its own total. A value that one side lacks has the share 0 there.

    >>> l_infinity({"a": 3, "b": 1}, {"a": 1, "b": 1})
    (0.25, 'a')
    """
    p, q = align_counts(first, second)
    differences = np.abs(p / p.sum() - q / q.sum())
    most = int(differences.argmax())
    return float(differences[most]), sorted(first.keys() | second.keys())[most]


def jensen_shannon(first: Masses, second: Masses) -> float:
    """Jensen-Shannon divergence to base 2 of two vectors of masses: 0 if alike, 1 if nothing is shared.

    `(KL(P, M) + KL(Q, M)) / 2` with `M = (P + Q) / 2` (Lin, Divergence measures based on the Shannon entropy, 1991).
    """
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2

    def divergence(masses: Masses) -> float:
        held = masses > 0
        return float(np.sum(masses[held] * np.log2(masses[held] / middle[held])))

    return min(1.0, max(0.0, (divergence(p) + divergence(q)) / 2))


def align_counts(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[Masses, Masses]:
    """Counts of strings as two vectors over the values of both, in their order."""
    values = sorted(first.keys() | second.keys())
    return np.array([first.get(v, 0.0) for v in values]), np.array([second.get(v, 0.0) for v in values])


def align_histograms(first: statistics_pb2.Histogram, second: statistics_pb2.Histogram) -> tuple[Masses, Masses]:
    """Two histograms over common buckets, values taken as spread evenly within each bucket.

    Buckets without width are points of their own. Infinite and NaN masses are matched with nothing on the other side,
    so they count as difference in full, as in TFDV.
    """
    sides = [_parts(first), _parts(second)]
    edges = np.unique([edge for buckets, _, _ in sides for low, high, _ in buckets for edge in (low, high)])
    points = sorted({point for _, found, _ in sides for point in found})
    vectors = []
    for index, (buckets, found, unmatched) in enumerate(sides):
        strays = [unmatched if index == side else 0.0 for side in (0, 1)]
        vectors.append(np.array([*_spread(buckets, edges), *(found.get(point, 0.0) for point in points), *strays]))
    return vectors[0], vectors[1]


Bucket = tuple[float, float, float]


def _parts(histogram: statistics_pb2.Histogram) -> tuple[list[Bucket], dict[float, float], float]:
    """Buckets with a width, points with their mass, and the mass that is infinite or NaN."""
    buckets: list[Bucket] = []
    points: dict[float, float] = {}
    unmatched = float(histogram.num_nan)
    for bucket in histogram.buckets:
        low, high, count = bucket.low_value, bucket.high_value, bucket.sample_count
        if not (math.isfinite(low) and math.isfinite(high)):
            unmatched += count
        elif low * 0.5 == high * 0.5:
            points[low] = points.get(low, 0.0) + count
        else:
            buckets.append((low, high, count))
    return buckets, points, unmatched


def _spread(buckets: Sequence[Bucket], edges: Masses) -> Masses:
    masses = np.zeros(max(0, len(edges) - 1))
    for low, high, count in buckets:
        # Halves, since the distance between two float64 need not be one.
        overlap = np.minimum(high, edges[1:]) * 0.5 - np.maximum(low, edges[:-1]) * 0.5
        masses += count * (np.clip(overlap, 0.0, None) / (high * 0.5 - low * 0.5))
    return masses
