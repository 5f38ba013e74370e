"""How far apart two distributions are: the two measures of TensorFlow Data Validation's comparators.

Source: TFDV's `metrics.cc` (`LInftyDistance`, `JensenShannonDivergence`, `AlignHistograms`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import statistics_pb2

    Masses = NDArray[np.float64]


def l_infinity(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[str, float]:
    """The largest difference of one value's share, and that value.

    Each side is divided by its own total. A value that one side lacks has the share 0 there.

    >>> l_infinity({"a": 3, "b": 1}, {"a": 1, "b": 1})
    ('a', 0.25)
    """
    totals = sum(first.values()) or 1, sum(second.values()) or 1
    distance, value = 0.0, ""
    for candidate in sorted(first.keys() | second.keys()):
        difference = abs(first.get(candidate, 0) / totals[0] - second.get(candidate, 0) / totals[1])
        if difference > distance:
            distance, value = difference, candidate
    return value, distance


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
    """Counts of strings as two vectors over the values of both."""
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
    if len(edges) < 2:
        return np.zeros(0)
    masses = np.zeros(len(edges) - 1)
    for low, high, count in buckets:
        # Halves, since the distance between two float64 need not be one.
        overlap = np.minimum(high, edges[1:]) * 0.5 - np.maximum(low, edges[:-1]) * 0.5
        masses += count * (np.clip(overlap, 0.0, None) / (high * 0.5 - low * 0.5))
    return masses
