"""The HTML page of the statistics: tables of all features, then a picture of each, train and eval over each other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from markupsafe import Markup

from slipway.data.statistics.features import by_name, feature_figures, feature_tables, type_name
from slipway.pages.numbers import format_number
from slipway.pages.page import render_page, section, tiles

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from slipway.pages.page import Cell


def render_statistics(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> str:
    """One HTML page."""
    features = by_name(_splits(statistics))
    types = Counter(type_name(sides) for sides in features.values())
    counts = ", ".join(f"{count} {name}" for name, count in types.items())
    sizes: list[tuple[str, Cell, Cell]] = [
        (f"{dataset.name} examples", format_number(dataset.num_examples), "") for dataset in statistics.datasets
    ]
    body = [
        tiles([*sizes, ("features", format_number(len(features)), counts)]),
        section("Features", statistics_tables(statistics)),
        section("Pictures", statistics_figures(statistics)),
    ]
    return render_page("Statistics", Markup("").join(body), subtitle="Statistics of the examples by split.")


def statistics_tables(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> Markup:
    """Tables of all features, a line for each split; for a run's report, too."""
    examples = {dataset.name: dataset.num_examples for dataset in statistics.datasets}
    return feature_tables(by_name(_splits(statistics)), examples)


def statistics_figures(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> Markup:
    """A picture of each feature; for a run's report, too."""
    return feature_figures(by_name(_splits(statistics)))


def _splits(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    return {dataset.name: dataset for dataset in statistics.datasets}
