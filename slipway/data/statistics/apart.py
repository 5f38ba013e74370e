"""How far the numbers of two data sets are apart at least, by what their histograms know for certain.

A histogram gives shares below its edges, and two of them have few edges in common. TFDV takes values as spread evenly
within a bucket: one outlier then makes two samples of the same data look different. What is certain is a bound: from an
edge `e` below which the share `s` lies, the share up to x is at least `s` where x >= e, and at most `s` where x < e.
Values that no bucket holds (`num_undefined`) may lie anywhere. The largest difference of these bounds is a lower bound
of the Kolmogorov-Smirnov distance, which chance exceeds with probability p at sqrt(-ln(p/2)/2 · (1/n + 1/m)) (Smirnov,
1948, https://doi.org/10.1214/aoms/1177730256).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import statistics_pb2

    Floats = NDArray[np.float64]


ROUNDING = 1e-9


@dataclass(frozen=True)
class Apart:
    """At `value` the shares up to it differ by `distance` at least: one side's is at least, the other's at most so."""

    distance: float = 0.0
    value: float = math.nan
    shares: tuple[float, float] = (0.0, 0.0)
    is_below: bool = False  # the shares are of what is below the value, without it

    @property
    def first_has_more(self) -> bool:
        """Whether the first data set has the larger share up to the value."""
        return self.shares[0] > self.shares[1]


def least_apart(first: statistics_pb2.NumericStatistics, second: statistics_pb2.NumericStatistics) -> Apart:
    """The largest difference that is certain; 0 if a side has no values."""
    sides = [_known_shares(one) for one in (first, second)]
    if not all(len(points) for points, *_ in sides):
        return Apart()
    values = np.unique(np.concatenate([points for points, *_ in sides]))
    best = Apart()
    for side in ("right", "left"):
        (low, high), (other_low, other_high) = (_bounds(*known, values, side) for known in sides)
        for distance, mine, theirs in ((low - other_high, low, other_high), (other_low - high, high, other_low)):
            place = int(distance.argmax())
            if distance[place] > best.distance + ROUNDING:
                shares = float(mine[place]), float(theirs[place])
                best = Apart(float(distance[place]), float(values[place]), shares, side == "left")
    return best


def by_chance(rows: tuple[float, float], error_rate: float) -> float:
    """The distance that chance exceeds this often, between samples of so many rows."""
    return math.sqrt(-math.log(error_rate / 2) / 2 * sum(1 / max(one, 1) for one in rows))


def _known_shares(stats: statistics_pb2.NumericStatistics) -> tuple[Floats, Floats, Floats]:
    """Points, in order, and the least and the largest share below each."""
    known: list[tuple[float, float, float]] = []
    for histogram in stats.histograms:
        below, undefined = 0.0, histogram.num_undefined
        total = sum(bucket.sample_count for bucket in histogram.buckets) + undefined
        if not total:
            continue
        for bucket, following in pairwise(histogram.buckets):
            below += bucket.sample_count
            shares = below / total, (below + undefined) / total
            known += [(bucket.high_value, *shares), (following.low_value, *shares)]
        if not math.isnan(stats.min):  # a window does not know its extremes
            known += [(stats.min, 0.0, 0.0), (stats.max, 1.0, 1.0)]
    points, least, most = np.array(sorted(known), np.float64).reshape(-1, 3).T
    return points, least, most


def _bounds(points: Floats, least: Floats, most: Floats, values: Floats, side: str) -> tuple[Floats, Floats]:
    """The least and the largest share up to each value; `left`: without the value itself."""
    seen = np.searchsorted(points, values, side=side)  # type: ignore[call-overload]
    low = np.append(0.0, np.maximum.accumulate(least))[seen]
    high = np.append(np.minimum.accumulate(most[::-1])[::-1], 1.0)[seen]
    return low, high
