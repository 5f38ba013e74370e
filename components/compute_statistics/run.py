"""Describes the examples."""

from __future__ import annotations

from slipway.data.statistics.compute import compute_statistics
from slipway.data.statistics.io import write_statistics
from slipway.data.statistics.page import render_statistics
from slipway.stores import storage


def compute(examples_path: str, statistics_path: str, page_path: str) -> None:
    """Writes `statistics.pb` and its page."""
    statistics = compute_statistics(examples_path)
    write_statistics(statistics, statistics_path)
    storage.write_text(page_path, render_statistics(statistics))
