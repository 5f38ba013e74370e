"""Weights that no metric could use stop the run, with column and row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from slipway.data.examples.dataset import Manifest, RowCounts
from slipway.data.validation.weights import check_weights
from slipway.data.weights import read_weights
from slipway.errors import DataError
from tests.components.evaluation_models import write_examples


def anomalies(folder: Path, values: list[Any]) -> list[Any]:
    table = pa.table({"w": pa.array(values, pa.float64())})
    write_examples(folder, table)
    rows = RowCounts(read=len(values), quarantined=0, train=0, eval=len(values))
    manifest = Manifest(source={}, rows=rows, files=[], columns={}, label="y", weight="w", digest="d")
    return list(check_weights(folder, manifest))


@pytest.mark.parametrize(
    ("values", "word", "row"),
    [
        ([1.0, None, 2.0, None], "missing", 2),
        ([1.0, 0.0, float("nan")], "NaN", 3),
        ([-0.5, 1.0], "negative", 1),
        ([1.0, float("inf")], "infinite", 2),
    ],
)
def test_weights_that_are_no_numbers_from_0_on_are_anomalies(
    tmp_path: Path, values: list[Any], word: str, row: int
) -> None:
    (found,) = anomalies(tmp_path, values)
    assert (found.feature, found.split, found.severity) == ("w", "eval", "ERROR")
    assert word in found.description
    assert f"row {row} of split=eval/part-0.parquet" in found.description
    with pytest.raises(DataError, match=rf"'w' is {word} .* row {row}:"):
        read_weights(pa.chunked_array([pa.array(values, pa.float64())]), "w")


def test_weights_that_are_all_0_are_an_anomaly_and_some_are_not(tmp_path: Path) -> None:
    (found,) = anomalies(tmp_path / "none", [0.0, 0.0])
    assert "2 rows" in found.description
    assert not anomalies(tmp_path / "some", [0.0, 2.0])
