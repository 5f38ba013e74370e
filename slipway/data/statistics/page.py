"""The HTML page of the statistics: a table of all features, then a chart of each, train and eval overlaid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from slipway.data.images import data_uri
from slipway.data.statistics.describe import common_stats, feature_name, image_shape, mean_images, unique_count
from slipway.pages.charts import Bins, bar_list, figure, histogram
from slipway.pages.numbers import format_number, format_share, short_number
from slipway.pages.page import grid, pictures, render_page, section, table, tiles

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from slipway.pages.page import Cell

Splits = dict[str, "statistics_pb2.FeatureNameStatistics"]  # one feature, by split

SHOWN_VALUES = 8
OUTLIERS = 0.9  # with so much in one of ten buckets, equal widths show the outliers and nothing else
TILE_NAMES = {"Images": "of images", "Numbers": "numeric", "Strings": "other"}
TYPE_NAMES = {0: "integer", 1: "float", 2: "string", 3: "binary"}


def render_statistics(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> str:
    """One HTML page."""
    features = _by_name(statistics)
    parts: dict[str, dict[str, Splits]] = {"Images": {}, "Numbers": {}, "Strings": {}}
    for name, found in features.items():
        kind = "Numbers" if _first(found).HasField("num_stats") else "Strings"
        parts["Images" if mean_images(_first(found)) else kind][name] = found
    counts = ", ".join(f"{len(part)} {TILE_NAMES[title]}" for title, part in parts.items() if part or title != "Images")
    sizes: list[tuple[str, Cell, Cell]] = [
        (f"{dataset.name} examples", format_number(dataset.num_examples), "") for dataset in statistics.datasets
    ]
    body = [
        tiles([*sizes, ("features", format_number(len(features)), counts)]),
        section("Overview", overview_table(statistics)),
        *(section(title, _figures_of(part)) for title, part in parts.items() if part),
    ]
    return render_page("Statistics", Markup("").join(body), subtitle="Statistics of the examples by split.")


def feature_figures(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> Markup:
    """A chart of each feature, for a run's report."""
    return _figures_of(_by_name(statistics))


def overview_table(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> Markup:
    """A row for each feature with a small histogram, for this page and for a run's report."""
    sizes = {dataset.name: dataset.num_examples for dataset in statistics.datasets}
    headers = ["Feature", "Missing", "Zero", "Distinct", "Min", "Median", "Mean", "Max", "Std. dev.", "Type", "Shape"]
    rows: list[list[Cell]] = []
    for name, found in _by_name(statistics).items():
        bins = [bins for split, feature in found.items() if (bins := _bins(split, feature.num_stats)).counts]
        shape: Cell = histogram("", bins, mini=True) if bins else ""
        if means := mean_images(_first(found)):
            shape = Markup('<img src="{}" alt="mean image">').format(data_uri(means[""]))
        figures = zip(*(_figures(feature, sizes[split]) for split, feature in found.items()), strict=True)
        cells = [
            Markup("<br>").join([first, *map(Markup("<small>{}</small>").format, rest)]) for first, *rest in figures
        ]
        title = Markup("<strong>{}</strong>").format(name)
        sizes_of_image = " x ".join(map(str, image_shape(_first(found))))
        kind = f"image, {sizes_of_image}" if sizes_of_image else TYPE_NAMES.get(_first(found).type, "other")
        rows.append([title, *cells, kind, shape])
    splits = " and ".join(sizes)
    note = Markup('<p class="note">A line each for {}. Point at a number to see all its digits.</p>').format(splits)
    return note + table(headers, rows)


def _by_name(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, Splits]:
    by_name: dict[str, Splits] = {}
    for dataset in statistics.datasets:
        for feature in dataset.features:
            by_name.setdefault(feature_name(feature), {})[dataset.name] = feature
    return by_name


def _figures_of(features: dict[str, Splits]) -> Markup:
    return grid(*(figure for name, found in features.items() for figure in _drawn(name, found)))


def _drawn(name: str, found: Splits) -> list[Markup]:
    if not _first(found).HasField("num_stats"):
        return [_string_figure(name, found)]
    images = [_image_figure(name, found)] if mean_images(_first(found)) else []
    return [*images, _number_figure(name, found)]


def _image_figure(name: str, found: Splits) -> Markup:
    """The mean of all images of the first split, and of those of each label."""
    means = [(data_uri(png), label or "all") for label, png in mean_images(_first(found)).items()]
    shape = " x ".join(map(str, image_shape(_first(found))))
    facts = []
    for split, feature in found.items():
        stats, values = feature.num_stats, feature.num_stats.common_stats.tot_num_values
        ink = format_share(1 - stats.num_zeros / values if values else math.nan)
        between = f"{format_number(stats.min)} to {format_number(stats.max)}, {format_number(stats.mean)} on average"
        facts.append(f"{split}: {between}; {ink} of the values are not zero.")
    return figure(f"{name}, {shape}: mean images by label", pictures(means), note=" ".join(facts))


def _figures(feature: statistics_pb2.FeatureNameStatistics, examples: int) -> list[Cell]:
    common = common_stats(feature)
    missing = format_share(common.num_missing / examples if examples else math.nan)
    distinct = ("" if feature.HasField("string_stats") else "≈ ") + format_number(unique_count(feature))
    if not feature.HasField("num_stats") or not common.tot_num_values:
        return [missing, "", distinct, *[""] * 5]
    stats = feature.num_stats
    figures = (stats.min, stats.median, stats.mean, stats.max, stats.std_dev)
    zeros = format_share(stats.num_zeros / common.tot_num_values)
    return [missing, zeros, distinct, *map(_short, figures)]


def _short(value: float) -> Markup:
    return Markup('<span title="{}">{}</span>').format(format_number(value, 12), short_number(value))


def _number_figure(name: str, found: Splits) -> Markup:
    bins, note = [_bins(split, feature.num_stats) for split, feature in found.items()], _presence_note(found)
    if any(len(one.counts) > 1 and max(one.counts) > OUTLIERS * sum(one.counts) for one in bins):
        tenths = [_bins(split, feature.num_stats, kind=1) for split, feature in found.items()]
        bins = [Bins(one.name, one.edges[:-1], one.counts[:-1]) for one in tenths]
        reach = max(feature.num_stats.max for feature in found.values())
        note = f"The highest tenth, up to {format_number(reach)}, is not drawn. {note}"
    bins = [one for one in bins if one.counts]
    return histogram(name, bins, note=note) if bins else figure(name, Markup(""), note=note)


def _bins(split: str, stats: statistics_pb2.NumericStatistics, kind: int = 0) -> Bins:
    """The finite buckets of the histogram of this type: 0 is STANDARD, 1 QUANTILES."""
    for one in stats.histograms:
        if one.type == kind:
            buckets = [b for b in one.buckets if math.isfinite(b.low_value) and math.isfinite(b.high_value)]
            edges = [bucket.low_value for bucket in buckets] + [bucket.high_value for bucket in buckets[-1:]]
            return Bins(split, edges, [bucket.sample_count for bucket in buckets])
    return Bins(split, [], [])


def _string_figure(name: str, found: Splits) -> Markup:
    first = _first(found)
    common = common_stats(first)
    note = _presence_note(found)
    if first.HasField("bytes_stats"):
        mean = format_number(first.bytes_stats.avg_num_bytes)
        return figure(name, Markup("<p>{} bytes on average</p>").format(mean), note=note)
    stats = first.string_stats
    rows = [(top.value or "(empty)", top.frequency) for top in stats.top_values[:SHOWN_VALUES]]
    rest = common.tot_num_values - sum(frequency for _, frequency in rows)
    if rest > 0:
        rows.append((f"{format_number(stats.unique - len(rows))} more", rest))
    note = f"{format_number(stats.unique)} distinct, {format_number(stats.avg_length)} characters on average. {note}"
    return bar_list(name, rows, share_of=common.tot_num_values or None, note=note)


def _presence_note(found: Splits) -> str:
    commons = {split: common_stats(feature) for split, feature in found.items()}
    shares = [
        f"{format_share(one.num_missing / (one.num_missing + one.num_non_missing))} of {split}"
        for split, one in commons.items()
        if one.num_missing
    ]
    parts = [f"Missing: {', '.join(shares)}." if shares else "Never missing."]
    low = min(common.min_num_values for common in commons.values())
    high = max(common.max_num_values for common in commons.values())
    if high > 1:
        parts.append(f"{low} to {high} values per example.")
    numbers = [feature.num_stats for feature in found.values()]
    nans = sum(one.num_nan for stats in numbers for one in stats.histograms[:1])
    if nans:
        parts.append(f"{format_number(nans)} NaN.")
    if any(math.isinf(stats.min) or math.isinf(stats.max) for stats in numbers):
        parts.append("Holds infinite values.")
    return " ".join(parts)


def _first(found: Splits) -> statistics_pb2.FeatureNameStatistics:
    return next(iter(found.values()))
