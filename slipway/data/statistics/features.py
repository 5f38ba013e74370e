"""Tables and pictures of features, of one data set or of several beside each other, as TFDV's facets show them.

The statistics page, a run's report and the console draw with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from markupsafe import Markup

from slipway.data.images import data_uri
from slipway.data.statistics.describe import (
    common_stats,
    feature_name,
    has_unique_count,
    image_shape,
    mean_images,
    tallies,
    unique_count,
)
from slipway.pages.charts import bar_list, figure, overlaid_bars
from slipway.pages.histograms import Bins, histogram
from slipway.pages.numbers import MISSING, format_number, format_share, short_number
from slipway.pages.page import grid, pictures, table
from slipway.pages.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorflow_metadata.proto.v0 import statistics_pb2

    from slipway.pages.page import Cell

Sides = dict[str, "statistics_pb2.FeatureNameStatistics"]  # one feature, by data set

SHOWN_VALUES = 8
MINI_VALUES = 20
OUTLIERS = 0.9  # with so much in one of ten buckets, equal widths show the outliers and nothing else
STANDARD, QUANTILES = 0, 1
TYPE_NAMES = {0: "integer", 1: "float", 2: "string", 3: "binary"}
NUMBERS = ("Count", "Missing", "Mean", "Std. dev.", "Zero", "Min", "Median", "Max", "Distinct")
CATEGORIES = ("Count", "Missing", "Distinct", "Top", "Frequency", "Avg. length")


@dataclass(frozen=True)
class Drawing:
    """How distributions are drawn: by buckets of equal counts, on a logarithmic axis, as counts rather than shares."""

    quantiles: bool = False
    logarithm: bool = False
    counts: bool = False


PLAIN = Drawing()
NO_MORE: Mapping[str, Mapping[str, Cell]] = MappingProxyType({})


def by_name(datasets: Mapping[str, statistics_pb2.DatasetFeatureStatistics]) -> dict[str, Sides]:
    """The features of data sets by name, in the order of the first that has them."""
    features: dict[str, Sides] = {}
    for key, dataset in datasets.items():
        for feature in dataset.features:
            features.setdefault(feature_name(feature), {})[key] = feature
    return features


def first_of(sides: Sides) -> statistics_pb2.FeatureNameStatistics:
    """The feature in the first data set that has it."""
    return next(iter(sides.values()))


def is_number(sides: Sides) -> bool:
    """Whether a feature belongs into the table of numbers; so does an image."""
    return bool(first_of(sides).HasField("num_stats"))


def type_name(sides: Sides) -> str:
    """The type in a word: `integer`, `image`."""
    return "image" if image_shape(first_of(sides)) else TYPE_NAMES.get(first_of(sides).type, "other")


def feature_tables(
    features: Mapping[str, Sides],
    examples: Mapping[str, float],
    drawing: Drawing = PLAIN,
    more: Mapping[str, Mapping[str, Cell]] = NO_MORE,
) -> Markup:
    """A table of numbers and one of categories: a row for each feature, in it a line for each data set.

    Args:
        features: By name, in the order in which they are shown.
        examples: Of each data set, in the order of the lines.
        drawing: Of the small picture of each.
        more: Cells of further columns, by title.
    """
    names = " and ".join(examples)
    note = (f"A line each for {names}. " if len(examples) > 1 else "") + "Point at a number to see all its digits."
    parts = [Markup('<p class="note">{}</p>').format(note)]
    for title, headers in (("Numbers", NUMBERS), ("Categories", CATEGORIES)):
        rows = [
            _row(name, sides, examples, drawing, more)
            for name, sides in features.items()
            if is_number(sides) == (title == "Numbers")
        ]
        if rows:
            shown = table(["Feature", "Distribution", *more, *headers, "Type"], rows, text_columns=2)
            parts.append(Markup("<h3>{}</h3>{}").format(title, shown))
    return Markup("").join(parts)


def feature_figures(features: Mapping[str, Sides], drawing: Drawing = PLAIN) -> Markup:
    """A picture of each feature, the data sets over each other."""
    return grid(*(drawn for name, sides in features.items() for drawn in _drawn(printable(name), sides, drawing)))


def _row(
    name: str,
    sides: Sides,
    examples: Mapping[str, float],
    drawing: Drawing,
    more: Mapping[str, Mapping[str, Cell]],
) -> list[Cell]:
    width, kind = len(NUMBERS if is_number(sides) else CATEGORIES), is_number(sides)
    lines = [
        _figures(sides[key]) if key in sides and is_number({key: sides[key]}) == kind else [MISSING] * width
        for key in examples
    ]
    cells = [
        Markup("<br>").join([first, *map(Markup("<small>{}</small>").format, rest)])
        for first, *rest in zip(*lines, strict=True)
    ]
    shape = image_shape(first_of(sides))
    types = dict.fromkeys(TYPE_NAMES.get(one.type, "other") for one in sides.values())
    told = f"image, {' x '.join(map(str, shape))}" if shape else " and ".join(types)
    extra = [cells_of.get(name, "") for cells_of in more.values()]
    return [Markup("<strong>{}</strong>").format(printable(name)), _mini(sides, drawing), *extra, *cells, told]


def _mini(sides: Sides, drawing: Drawing) -> Markup:
    if means := mean_images(first_of(sides)):
        return Markup('<img src="{}" alt="mean image">').format(data_uri(means[""]))
    if is_number(sides):
        kind = QUANTILES if drawing.quantiles else STANDARD
        bins = [its for key, one in sides.items() if (its := _bins(key, one.num_stats, kind)).counts]
    else:
        ranked = _ranked(sides)[:MINI_VALUES]
        edges = list(range(len(ranked) + 1))
        bins = [Bins(key, edges, [counts[key] for _, counts in ranked]) for key in sides] if ranked else []
    return histogram("", bins, mini=True, logarithm=drawing.logarithm) if bins else Markup("")


def _figures(feature: statistics_pb2.FeatureNameStatistics) -> list[Cell]:
    common, its = common_stats(feature), tallies(feature)
    examples = its.num_missing + its.num_non_missing
    missing = format_share(its.num_missing / examples if examples else math.nan)
    count = format_number(its.num_non_missing)
    approximate = "" if feature.HasField("string_stats") else "≈ "
    distinct = f"{approximate}{format_number(unique_count(feature))}" if has_unique_count(feature) else MISSING
    if feature.HasField("string_stats"):
        stats = feature.string_stats
        top = next(iter(stats.top_values), None)
        frequency = format_number(top.frequency) if top else MISSING
        return [count, missing, distinct, _short_text(top.value) if top else MISSING, frequency,
                _short(stats.avg_length)]  # fmt: skip
    if feature.HasField("bytes_stats"):
        return [count, missing, distinct, MISSING, MISSING, f"{format_number(feature.bytes_stats.avg_num_bytes)} bytes"]
    if not common.tot_num_values:
        return [count, missing, *[MISSING] * 6, distinct]
    numbers = feature.num_stats
    # A window's counts know neither the mean nor how many zeros there are.
    zeros = MISSING if math.isnan(numbers.mean) else format_share(numbers.num_zeros / common.tot_num_values)
    mean, deviation, low, median, high = map(
        _short, (numbers.mean, numbers.std_dev, numbers.min, numbers.median, numbers.max)
    )
    return [count, missing, mean, deviation, zeros, low, median, high, distinct]


def _short(value: float) -> Markup:
    return Markup('<span title="{}">{}</span>').format(format_number(value, 12), short_number(value))


def _short_text(value: str) -> Markup:
    return Markup('<span class="cut" title="{0}">{0}</span>').format(printable(value) or "(empty)")


def _drawn(name: str, sides: Sides, drawing: Drawing) -> list[Markup]:
    if not is_number(sides):
        return [_category_figure(name, sides, drawing)]
    images = [_image_figure(name, sides)] if mean_images(first_of(sides)) else []
    return [*images, _number_figure(name, sides, drawing)]


def _image_figure(name: str, sides: Sides) -> Markup:
    """The mean of all images of the first data set, and of those of each label."""
    means = [(data_uri(png), label or "all") for label, png in mean_images(first_of(sides)).items()]
    shape = " x ".join(map(str, image_shape(first_of(sides))))
    facts = []
    for key, feature in sides.items():
        stats, values = feature.num_stats, feature.num_stats.common_stats.tot_num_values
        ink = format_share(1 - stats.num_zeros / values if values else math.nan)
        between = f"{format_number(stats.min)} to {format_number(stats.max)}, {format_number(stats.mean)} on average"
        facts.append(f"{key}: {between}; {ink} of the values are not zero.")
    return figure(f"{name}, {shape}: mean images by label", pictures(means), note=" ".join(facts))


def _number_figure(name: str, sides: Sides, drawing: Drawing) -> Markup:
    numbers = {key: feature.num_stats for key, feature in sides.items()}
    bins, note = [_bins(key, stats) for key, stats in numbers.items()], _presence_note(sides)
    if drawing.quantiles:
        bins = [_bins(key, stats, QUANTILES) for key, stats in numbers.items()]
    elif not drawing.logarithm and any(
        len(one.counts) > 1 and max(one.counts) > OUTLIERS * sum(one.counts) for one in bins
    ):
        tenths = [_bins(key, stats, QUANTILES) for key, stats in numbers.items()]
        bins = [Bins(one.name, one.edges[:-1], one.counts[:-1]) for one in tenths]
        reach = max(stats.max for stats in numbers.values())
        note = f"The highest tenth, up to {format_number(reach)}, is not drawn. {note}"
    bins = [one for one in bins if one.counts]
    if not bins:
        return figure(name, Markup(""), note=note)
    return histogram(name, bins, note=note, logarithm=drawing.logarithm, counts=drawing.counts)


def _bins(key: str, stats: statistics_pb2.NumericStatistics, kind: int = STANDARD) -> Bins:
    """The finite buckets of the histogram of this type; of another where that is all there is."""
    found = next((one for one in stats.histograms if one.type == kind), next(iter(stats.histograms), None))
    buckets = [b for b in found.buckets if math.isfinite(b.low_value) and math.isfinite(b.high_value)] if found else []
    edges = [bucket.low_value for bucket in buckets] + [bucket.high_value for bucket in buckets[-1:]]
    return Bins(key, edges, [bucket.sample_count for bucket in buckets])


def _ranked(sides: Sides) -> list[tuple[str, dict[str, float]]]:
    """Values with their counts in each data set: those first that have the largest share of any."""
    totals = {key: tallies(one).tot_num_values or 1 for key, one in sides.items()}
    counts: dict[str, dict[str, float]] = {}
    for key, one in sides.items():
        for bucket in one.string_stats.rank_histogram.buckets:
            counts.setdefault(bucket.label, dict.fromkeys(sides, 0.0))[key] = bucket.sample_count
    return sorted(counts.items(), key=lambda item: -max(count / totals[key] for key, count in item[1].items()))


def _category_figure(name: str, sides: Sides, drawing: Drawing) -> Markup:
    note = _presence_note(sides)
    if first_of(sides).HasField("bytes_stats"):
        mean = format_number(first_of(sides).bytes_stats.avg_num_bytes)
        return figure(name, Markup("<p>{} bytes on average</p>").format(mean), note=note)
    totals = {key: tallies(one).tot_num_values for key, one in sides.items()}
    rows = [(printable(value) or "(empty)", counts) for value, counts in _ranked(sides)[:SHOWN_VALUES]]
    rest = {key: total - sum(counts[key] for _, counts in rows) for key, total in totals.items()}
    if any(count > 0 for count in rest.values()):
        more = max(one.string_stats.unique for one in sides.values()) - len(rows)
        rows.append((f"{format_number(more)} more" if more > 0 else "all others", rest))
    known = [(format_number(one.string_stats.unique), _length(one)) for one in sides.values()]
    distinct, lengths = (" and ".join(dict.fromkeys(values)) for values in zip(*known, strict=True))
    note = f"{distinct} distinct, {lengths} characters on average. {note}"
    if len(sides) == 1:
        [(key, total)] = totals.items()
        share_of = None if drawing.counts else total or None
        shown = [(value, counts[key]) for value, counts in rows]
        return bar_list(name, shown, share_of=share_of, note=note, logarithm=drawing.logarithm)
    (one, first), (other, second), *_ = totals.items()
    if drawing.counts:
        first = second = 1
    pairs = [(value, counts[one] / (first or 1), counts[other] / (second or 1)) for value, counts in rows]
    show = format_number if drawing.counts else format_share
    return overlaid_bars(name, (one, other), pairs, note, show=show, logarithm=drawing.logarithm)


def _length(feature: statistics_pb2.FeatureNameStatistics) -> str:
    return format_number(feature.string_stats.avg_length)


def _presence_note(sides: Sides) -> str:
    counted = {key: tallies(feature) for key, feature in sides.items()}
    shares = [
        f"{format_share(one.num_missing / (one.num_missing + one.num_non_missing))} of {key}"
        for key, one in counted.items()
        if one.num_missing
    ]
    parts = [f"Missing: {', '.join(shares)}." if shares else "Never missing."]
    commons = [common_stats(feature) for feature in sides.values()]
    low = min(common.min_num_values for common in commons)
    high = max(common.max_num_values for common in commons)
    if high > 1:
        parts.append(f"{low} to {high} values per example.")
    numbers = [feature.num_stats for feature in sides.values()]
    nans = sum(one.num_nan for stats in numbers for one in stats.histograms[:1])
    if nans:
        parts.append(f"{format_number(nans)} NaN.")
    if any(math.isinf(stats.min) or math.isinf(stats.max) for stats in numbers):
        parts.append("Holds infinite values.")
    return " ".join(parts)
