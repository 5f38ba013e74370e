"""How far the features of two data sets are apart, and what chance explains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from scipy.special import chdtri

from slipway.data.statistics.apart import by_chance, least_apart
from slipway.data.statistics.describe import common_stats
from slipway.data.statistics.features import TYPE_NAMES, by_name
from slipway.data.validation.comparators import measure_distance
from slipway.monitoring.drift import ERROR_RATE
from slipway.pages.numbers import format_number, format_share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorflow_metadata.proto.v0 import statistics_pb2

LETTERS = 60  # of a value, in words
TOLD = 0.001  # what is less is none to speak of, however many rows show it


@dataclass(frozen=True)
class Difference:
    """How far a feature's values are apart in two data sets.

    Attributes:
        divergence: TFDV's Jensen-Shannon divergence of the histograms; infinite if a data set lacks the feature.
        apart: The largest difference of shares; of numbers at least so much.
        said: Where it is, in words.
        has_moved: Whether chance explains it in one comparison of 1,000 only.
    """

    divergence: float = 0.0
    apart: float = 0.0
    said: str = ""
    has_moved: bool = False


def differences(
    datasets: Mapping[str, statistics_pb2.DatasetFeatureStatistics],
    plain: Mapping[str, statistics_pb2.DatasetFeatureStatistics],
    *,
    quantiles: bool,
) -> dict[str, Difference]:
    """Of each feature of two data sets.

    Args:
        datasets: Weighted perhaps.
        plain: The same without weights: chance goes by the number of rows.
        quantiles: Whether the divergence is that of the histograms of equal counts.
    """
    return _differences(_Pair(datasets), _Pair(plain), quantiles)


class _Pair(dict[str, "statistics_pb2.DatasetFeatureStatistics"]):
    """Data sets as a key of a cache: by identity, since those of `sets.py` are kept in memory."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(map(id, self.values())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pair) and list(map(id, self.values())) == list(map(id, other.values()))


@lru_cache(16)
def _differences(datasets: _Pair, plain: _Pair, quantiles: bool) -> dict[str, Difference]:
    features, counted = by_name(datasets), by_name(plain)
    rows = {name: [common_stats(one).tot_num_values for one in sides.values()] for name, sides in counted.items()}
    rate = ERROR_RATE / max(len(features), 1)
    return {name: _difference(list(sides.values()), rows[name], rate, quantiles) for name, sides in features.items()}


def _difference(
    sides: list[statistics_pb2.FeatureNameStatistics], rows: list[int], error_rate: float, quantiles: bool
) -> Difference:
    if len(sides) < 2:
        return Difference(math.inf, math.inf)
    if not all(rows):
        return Difference()
    first, second = sides
    if first.WhichOneof("stats") != second.WhichOneof("stats"):
        kinds = " → ".join(TYPE_NAMES.get(one.type, "other") for one in sides)
        return Difference(1.0, 1.0, f"of another type: {kinds}", has_moved=True)
    kind = int(quantiles or not all(_has_standard(one) for one in sides))
    divergence, _ = measure_distance("JENSEN_SHANNON_DIVERGENCE", first, second, kind) or (0.0, None)
    if most := measure_distance("L_INFTY", first, second, kind):
        apart, value = most
        shares = [_share(one, value or "") for one in sides]
        named = (value or "(empty)")[:LETTERS] + ("…" if len(value or "") > LETTERS else "")
        said = f"{named}: {format_share(shares[0])} → {format_share(shares[1])}"
        cells = max(len(one.string_stats.rank_histogram.buckets) for one in sides)
        chance = chdtri(cells - 1 or 1, error_rate) * sum(1 / one for one in rows) / (8 * math.log(2))
        return Difference(divergence, apart, said, bool(divergence > max(chance, TOLD)))
    if not first.HasField("num_stats"):
        return Difference(divergence)
    found = least_apart(first.num_stats, second.num_stats)
    bounds = ("≥", "≤") if found.first_has_more else ("≤", "≥")
    said = " → ".join(f"{bound} {format_share(share)}" for bound, share in zip(bounds, found.shares, strict=True))
    told = f"{'below' if found.is_below else 'up to'} {format_number(found.value)}: {said}" if found.distance else ""
    chance = by_chance((rows[0], rows[1]), error_rate)
    return Difference(divergence, found.distance, told, found.distance > max(chance, TOLD))


def _share(feature: statistics_pb2.FeatureNameStatistics, value: str) -> float:
    counts = {one.label: one.sample_count for one in feature.string_stats.rank_histogram.buckets}
    return float(counts.get(value, 0) / sum(counts.values()))


def _has_standard(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    return not feature.HasField("num_stats") or any(one.type == 0 for one in feature.num_stats.histograms)
