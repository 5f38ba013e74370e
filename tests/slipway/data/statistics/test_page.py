import math
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa

from slipway.data.statistics.compute import compute_statistics
from slipway.data.statistics.page import render_statistics
from tests.example_artifacts import write_examples


def page_of(folder: Path, train: dict[str, object], evaluation: dict[str, object] | None = None) -> str:
    write_examples(folder, train, evaluation)
    page = render_statistics(compute_statistics(folder))
    HTMLParser().feed(page)
    return page


def test_render_statistics_shows_each_feature_of_both_splits(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"fare": [1.0, 2.0, 9.5], "kind": ["a", "a", None]}, {"fare": [4.25], "kind": ["b"]})
    for text in ("fare", "kind", "9.5", "4.25", "33.3 %", "train examples", "eval examples"):
        assert text in page


def test_render_statistics_escapes_what_the_data_holds(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"<b>x</b>": ["<script>alert(1)</script>"]})
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_render_statistics_with_nan_infinity_and_nothing_shows_no_nan(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        {
            "strange": [math.nan, math.inf, -math.inf, 1.0],
            "nothing": pa.array([None] * 4, pa.float64()),
            "no_text": pa.array([None] * 4, pa.string()),
            "same": [1, 1, 1, 1],
            "bytes": [b"\xff"] * 4,
        },
    )
    assert ">nan<" not in page
    assert "Holds infinite values." in page


def test_render_statistics_with_outliers_draws_the_rest(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"miles": [float(index) for index in range(1, 1000)] + [1e9]})
    assert "The highest tenth, up to 1,000,000,000, is not drawn." in page


def test_render_statistics_of_an_empty_split_is_a_page(tmp_path: Path) -> None:
    write_examples(tmp_path, {"x": [1.5]})
    (tmp_path / "split=eval" / "part-0.parquet").unlink()
    assert "eval examples" in render_statistics(compute_statistics(tmp_path))
