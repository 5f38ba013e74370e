"""Which features of one or two data sets are shown, and in which order: what TFDV's facets offer.

Orders are those of facets-overview (`facets_overview/components/facets_overview/facets-overview.ts`): as in the data,
by name, by the share of missing values and zeros, by non-uniformity (the least normalised entropy of any side), and by
how far two distributions are apart. For that, facets takes χ² of the histograms; here it is what TFDV's drift detection
takes, the Jensen-Shannon divergence, or the largest difference of shares: of a category, which is TFDV's L-infinity
distance, or of the numbers up to a value (`slipway.data.statistics.apart`). Only by the latter is anything said to have
moved, since one outlier is enough to move a histogram's edges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from console.data.differences import TOLD, Difference, differences
from console.data.sets import read_set
from slipway.data.statistics.apart import by_chance
from slipway.data.statistics.describe import common_stats, tallies
from slipway.data.statistics.features import TYPE_NAMES, Drawing, Sides, by_name, type_name
from slipway.data.statistics.weights import has_weights, weighted
from slipway.monitoring.drift import ERROR_RATE
from slipway.pages.numbers import format_share

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from pipelines.registry import Locations

PAGE = 25  # features
NAMED = 3
SORTS = {
    "order": "as in the data", "name": "name", "missing": "missing and zeros", "uniformity": "non-uniformity",
    "difference": "difference of shares", "divergence": "Jensen-Shannon divergence",
}  # fmt: skip
TYPES = {"": "all", **{name: name for name in (*TYPE_NAMES.values(), "image")}}
SWITCHES = ("reverse", "quantiles", "log", "counts", "weights")


@dataclass(frozen=True)
class View:
    """What an address asks for; `first` and `second` name data sets, as `sets.py` says."""

    first: str = ""
    second: str = ""
    sort: str = "order"
    search: str = ""
    type: str = ""
    reverse: bool = False
    quantiles: bool = False
    log: bool = False
    counts: bool = False
    weights: bool = False
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> View:
        """The view of a query; ValueError names what is wrong with it."""
        text = {name: query.get(name, "").strip() for name in ("first", "second", "sort", "search", "type", "page")}
        for name, known in (("sort", SORTS), ("type", TYPES)):
            if text[name] and text[name] not in known:
                raise ValueError(
                    f"{name} = {text[name][:100]!r} is not known; choose from {', '.join(filter(None, known))}"
                )
        page = text.pop("page") or "1"
        if not (page.isascii() and page.isdigit() and len(page) < 9 and int(page) > 0):
            raise ValueError(f"page = {page[:100]!r} is no number of a page; the first is 1")
        text["sort"] = text["sort"] or "order"
        return cls(**text, **{name: query.get(name) == "1" for name in SWITCHES}, page=int(page))  # type: ignore[arg-type]

    def address(self, **changes: object) -> str:
        """The address of this view, or of a changed one; a change of what is shown leads to its first page."""
        changed = replace(self, **({"page": 1} | changes))  # type: ignore[arg-type]
        shown = {name: "1" if value is True else value for name, value in vars(changed).items() if value}
        if shown.get("page") == 1:
            del shown["page"]
        return f"/data/features?{urlencode(shown)}"

    @property
    def drawing(self) -> Drawing:
        """How distributions are drawn."""
        return Drawing(self.quantiles, self.log, self.counts)


@dataclass(frozen=True)
class Facets:
    """The features that a view has, in its order, and `all` of them; and how far apart they are in two data sets.

    `counted` are all features by rows, also where the others are weighted.
    """

    datasets: dict[str, statistics_pb2.DatasetFeatureStatistics]
    all: dict[str, Sides]
    counted: dict[str, Sides]
    features: dict[str, Sides]
    differences: dict[str, Difference]
    has_weights: bool

    @property
    def examples(self) -> dict[str, float]:
        """Of each data set; the sum of their weights where it is weighted."""
        return {name: one.num_examples or one.weighted_num_examples for name, one in self.datasets.items()}


def find_facets(state: Locations, view: View) -> Facets:
    """Everything that a view shows, on all of its pages; raises the errors of `read_set`."""
    datasets = plain = _read(state, view)
    has = any(map(has_weights, datasets.values()))
    if view.weights and has:
        datasets = {name: weighted(dataset) for name, dataset in datasets.items()}
    features = by_name(datasets)
    found = differences(datasets, plain, quantiles=view.quantiles) if len(datasets) > 1 else {}
    keys = {
        "order": lambda name: 0.0,
        "name": str.lower,
        "missing": lambda name: -max(map(_missing_or_zero, features[name].values())),
        "uniformity": lambda name: min(map(_entropy, features[name].values())),
        "difference": lambda name: -found[name].apart if found else 0.0,
        "divergence": lambda name: -found[name].divergence if found else 0.0,
    }
    chosen = [
        name
        for name, sides in features.items()
        if view.search.lower() in name.lower() and view.type in ("", type_name(sides))
    ]
    chosen.sort(key=keys[view.sort])  # type: ignore[arg-type]
    if view.reverse:
        chosen.reverse()
    return Facets(datasets, features, by_name(plain), {name: features[name] for name in chosen}, found, has)


def tell_differences(facets: Facets) -> list[str]:
    """What moved most, a sentence each, and whether it is more than chance."""
    if not facets.differences:
        return []
    first, second = facets.datasets
    found = sorted(facets.differences.items(), key=lambda one: -one[1].apart)
    told = []
    alone = [name for name, one in found if math.isinf(one.apart)]
    for side, other in ((first, second), (second, first)):
        if names := [name for name in alone if side in facets.all[name]]:
            told.append(f"Only {side} has {_listed(names)}; {other} does not.")
    moved = [(name, one) for name, one in found if one.has_moved]
    told += [f"{name}, {one.said}." for name, one in moved[:NAMED]]
    if len(moved) > NAMED:
        told.append(f"{len(moved) - NAMED} more moved by more than chance explains.")
    if not moved and len(found) > len(alone):
        told.append(
            f"None of the {len(found) - len(alone)} features that both have differs by more than chance explains."
        )
    for name, change in _missing_changes(facets)[:NAMED]:
        told.append(f"{name} is missing {change}.")
    for name, sides in facets.all.items():
        for side, share in ((side, _unplaced(one)) for side, one in sides.items()):
            if share > TOLD:
                told.append(f"{name}: {format_share(share)} of {side} are values that its version was not trained on.")
    return told


def _read(state: Locations, view: View) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    """By titles, which are as short as tells them apart. A window is read with the types of the other data set."""
    references = [view.first, *([view.second] if view.second and view.second != view.first else [])]
    read: dict[str, statistics_pb2.DatasetFeatureStatistics] = {}
    for reference in sorted(references, key=lambda one: one.startswith("window/")):
        read[reference] = read_set(state, reference, next(iter(read.values()), None))
    return dict(zip(titles(references), [read[reference] for reference in references], strict=True))


def titles(references: list[str]) -> list[str]:
    """Short names of data sets: of two splits of one run, those of the splits."""
    parts = [reference.split("/") for reference in references]
    if len({part[1] for part in parts}) == 1 and all(part[0] == "run" for part in parts):
        return [part[2] for part in parts]
    return [f"{part[2]} of {part[1]}" if part[0] == "run" else f"{part[1]} asked {part[2]}" for part in parts]


def _unplaced(feature: statistics_pb2.FeatureNameStatistics) -> float:
    """The share of a window's values that no bucket holds."""
    counts = [one.num_undefined for one in feature.num_stats.histograms]
    return float(max(counts, default=0) / max(common_stats(feature).tot_num_values, 1))


def _rows(feature: statistics_pb2.FeatureNameStatistics) -> int:
    return int(common_stats(feature).num_missing + common_stats(feature).num_non_missing)


def _missing(feature: statistics_pb2.FeatureNameStatistics) -> float:
    its = tallies(feature)
    return float(its.num_missing / (its.num_missing + its.num_non_missing or 1))


def _missing_or_zero(feature: statistics_pb2.FeatureNameStatistics) -> float:
    values, missing = common_stats(feature).tot_num_values, _missing(feature)
    zeros = feature.num_stats.num_zeros / values if values and feature.HasField("num_stats") else 0.0
    return missing + (1 - missing) * zeros


def _entropy(feature: statistics_pb2.FeatureNameStatistics) -> float:
    """Of the histogram's shares, 1 if they are all alike; as in facets, 0 without any."""
    if feature.HasField("string_stats"):
        counts = [bucket.sample_count for bucket in feature.string_stats.rank_histogram.buckets]
    else:
        counts = [bucket.sample_count for one in feature.num_stats.histograms[:1] for bucket in one.buckets]
    total = sum(counts)
    shares = [count / total for count in counts if count] if total else []
    entropy = -sum(share * math.log(share) for share in shares)
    return entropy / math.log(len(counts)) if entropy else 0.0


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _missing_changes(facets: Facets) -> list[tuple[str, str]]:
    """Features of which more or fewer are missing than chance explains, the largest change first."""
    found = []
    for name, sides in facets.all.items():
        if len(sides) == 2:
            was, now = map(_missing, sides.values())
            first, second = map(_rows, facets.counted[name].values())
            if abs(was - now) > max(by_chance((first, second), ERROR_RATE / len(facets.all)), TOLD):
                found.append((abs(was - now), name, f"{format_share(was)} → {format_share(now)}"))
    return [(name, change) for _, name, change in sorted(found, reverse=True)]
