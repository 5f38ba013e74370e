from html.parser import HTMLParser
from pathlib import Path

import pytest

from slipway.data.statistics.describe import feature_name, unique_count
from slipway.data.statistics.io import dataset_of, read_statistics
from tests.example_artifacts import write_examples
from tests.steps import compute
from tests.taxi_examples import write_taxi_examples


def test_compute_writes_statistics_and_a_page(tmp_path: Path) -> None:
    write_examples(tmp_path / "examples", {"x": [1.0, 2.0]}, {"x": [3.0]})
    compute(str(tmp_path / "examples"), str(tmp_path / "statistics"), str(tmp_path / "page.html"))
    statistics = read_statistics(str(tmp_path / "statistics"))
    assert dataset_of(statistics, "train").features[0].num_stats.mean == 1.5
    assert dataset_of(statistics, "eval").features[0].num_stats.mean == 3
    HTMLParser().feed((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_compute_of_real_trips_knows_what_they_hold(tmp_path: Path) -> None:
    write_taxi_examples(tmp_path)
    compute(str(tmp_path), str(tmp_path / "statistics"), str(tmp_path / "page.html"))
    train = dataset_of(read_statistics(str(tmp_path / "statistics")), "train")
    features = {feature_name(feature): feature for feature in train.features}
    assert train.num_examples == 9446
    assert features["trip_miles"].num_stats.max == 1710
    assert unique_count(features["trip_start_month"]) == 12
    assert features["payment_type"].string_stats.top_values[0].value == "Cash"
    assert features["company"].string_stats.common_stats.num_missing == pytest.approx(0.34 * 9446, rel=0.02)
    assert (tmp_path / "page.html").stat().st_size < 500_000
