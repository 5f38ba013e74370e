"""The memory of the monitor's two reads of a log does not grow with its rows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.measure import measure
from serving.request_log import schema
from tests.watched_model import FIRST, MODEL

FEATURES, FILE_ROWS = 20, 25_000
READ = """
import sys
from datetime import UTC, datetime, timedelta
import pyarrow as pa
from slipway.monitoring import sample
from slipway.monitoring.counts import choose_cells
from slipway.monitoring.log_reader import LogReader
from slipway.monitoring.requests import answered_rows, count_requests
from slipway.monitoring.window import Window

sample.LIMIT = 20_000
start = datetime(2026, 3, 1, tzinfo=UTC)
window, log = Window(start, start + timedelta(days=1)), LogReader(sys.argv[1], "trips")
names = [f"x{number}" for number in range(20)]
found, damaged = count_requests(log, window, {1: {name: choose_cells(pa.array([0.1, 0.5, 0.9])) for name in names}})
kept = answered_rows(log, window, names)[1].rows.num_rows
print(found[1].rows, damaged, kept <= sample.LIMIT)
"""


def write_log(log: Path, files: int) -> int:
    """One file several times over, under other names; answers the bytes of all rows in memory."""
    folder = log / f"model={MODEL}" / f"date={FIRST:%Y-%m-%d}"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    values = rng.random((FILE_ROWS, FEATURES))
    rows = [
        {
            "request_id": f"r{number}", "instance": 0, "time": FIRST, "version": 1, "protocol": "rest",
            "method": "predict", "signature": "raw", "latency_seconds": 0.01, "scores": [0.5],
            "features": [{"name": f"x{one}", "floats": [value]} for one, value in enumerate(line)],
        }
        for number, line in enumerate(values.tolist())
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema())
    for number in range(files):
        ids = pa.array([f"{number}-{one}" for one in range(FILE_ROWS)])
        pq.write_table(table.set_column(0, schema().field("request_id"), ids), folder / f"{number}.parquet")
    return int(table.nbytes) * files


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows_of_a_window(tmp_path: Path) -> None:
    peaks, sizes = [], []
    for files in (8, 32):
        sizes.append(write_log(tmp_path / str(files), files))
        cost = measure([sys.executable, "-c", READ, str(tmp_path / str(files))])
        assert cost.output.split() == [str(files * FILE_ROWS), "0", "True"]
        peaks.append(cost.peak_mib)
    assert (sizes[1] - sizes[0]) / 2**20 > peaks[0], "kept, the rows would show"
    assert peaks[1] <= 1.3 * peaks[0], peaks
