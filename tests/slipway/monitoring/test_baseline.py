"""The baseline of training rows that are counted batch by batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.data.examples.dataset import MANIFEST
from slipway.monitoring import baseline
from slipway.monitoring.baseline import Baseline, count_baseline
from slipway.monitoring.counts import choose_cells, count
from tests.judged_rows import measure

ROWS = 5_000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """The highest fare, and a shop, are in one row alone."""
    random = np.random.default_rng(8)
    fares = random.gamma(2, 5, ROWS)
    fares[1_234] = 9e9
    shops = [None if row % 13 == 0 else f"shop {row % 5}" for row in range(ROWS)]
    labels = random.integers(0, 2, ROWS)
    return pa.table({"fare": fares, "shop": shops, "day": random.integers(1, 8, ROWS), "y": labels})


def baseline_of(table: pa.Table, folder: Path) -> Baseline:
    (folder / "split=train").mkdir(parents=True)
    pq.write_table(table, folder / "split=train" / "part-0.parquet", row_group_size=500)
    (folder / MANIFEST).touch()
    rows: Any = np.array([shop or "none" for shop in table["shop"].to_pylist()])
    judged, measured = measure("binary", table["y"].to_numpy().astype(np.float32),
                               np.linspace(0, 1, ROWS, dtype=np.float32), rows)  # fmt: skip
    judged = judged.model_copy(update={"label": "y"})
    kinds = {"fare": schema_pb2.FLOAT, "shop": schema_pb2.BYTES, "day": schema_pb2.INT}
    return count_baseline(folder, [schema_pb2.Feature(name=name, type=kind) for name, kind in kinds.items()],
                          judged, measured)  # fmt: skip


def test_batches_and_parts_of_the_columns_count_as_the_whole(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = baseline_of(table, tmp_path / "whole")
    for name, found in {**whole.features, "y": whole.labels}.items():
        assert found == count(table[name], choose_cells(table[name]))
    monkeypatch.setattr(baseline, "BATCH_ROWS", 300)
    monkeypatch.setattr(baseline, "COLUMNS_AT_ONCE", 1)
    assert baseline_of(table, tmp_path / "parts") == whole
    assert sum(whole.features["shop"].counts) == whole.rows == ROWS
    assert {tuple(one.columns) for one in whole.slices} == {("shop",)}
    assert {one.values[0]: one.rows for one in whole.slices}["shop 1"] == table["shop"].to_pylist().count("shop 1")
    assert whole.labels_by.keys() == {"fare", "shop", "day"}
    assert np.sum(whole.labels_by["day"]) == ROWS


def test_some_batches_choose_the_cells_and_all_are_counted(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = baseline_of(table, tmp_path / "whole")
    monkeypatch.setattr(baseline, "BATCH_ROWS", 100)
    monkeypatch.setattr(baseline, "CHOOSING_ROWS", 1_000)
    some = baseline_of(table, tmp_path / "some")
    fare = some.features["fare"].cells
    assert fare.edges != whole.features["fare"].cells.edges
    assert fare.edges == pytest.approx(whole.features["fare"].cells.edges, rel=0.15)
    assert (fare.lowest, fare.highest) == (float(np.min(table["fare"])), 9e9)
    assert [sum(one.counts) for one in some.features.values()] == [ROWS] * 3
    assert some.features["shop"] == whole.features["shop"]
    assert sorted((str(one.values), one.rows) for one in some.slices) == sorted(
        (str(one.values), one.rows) for one in whole.slices
    )
