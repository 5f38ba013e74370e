"""Batch prediction beside the bare loop: the same model, data and process, Parquet to Parquet with all columns."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from benchmarks.measure import measure
from serving.batch.config import BatchConfig
from serving.batch.resolve import resolve_job
from serving.batch.steps import end, predict, validate
from serving.predictor import Predictor
from slipway.data.schema import model_inputs, read_schema
from slipway.data.tensors import raw_inputs
from slipway.stores.model_store import open_store

MODEL, RUNS, GROUP_ROWS, LOOP_ROWS = "taxi", 3, 131_072, 16_384
HEADER = ("rows", "bare loop rows/s", "slipway predict --batch rows/s", "share", "CPU s", "of the bare loop")
MEMORY_HEADER = ("rows", "seconds", "largest process MiB")


def compare_batch(home: Path, trips: Path, work: Path, rows: int = 1_000_000) -> Iterator[tuple[str, ...]]:
    """The best of three of each, in turn; batch prediction with all of its steps."""
    data = work / f"trips-{rows}.parquet"
    repeat(trips, rows, data)
    version = open_store(str(home / "models")).production(MODEL)
    assert version
    loop, batch = [], []
    for number in range(RUNS):
        loop.append(_timed(partial(bare_loop, Path(version.uri), version.manifest.artifacts["schema"], data, work)))
        batch.append(_timed(partial(predict_table, home, data, work / f"out-{number}")))
    (seconds, cpu), (ours, our_cpu) = min(loop), min(batch)
    yield (f"{rows:,}", f"{rows / seconds:,.0f}", f"{rows / ours:,.0f}", f"{seconds / ours:.2f}", f"{our_cpu:.1f}",
           f"{cpu:.1f}")  # fmt: skip


def measure_memory(home: Path, trips: Path, work: Path) -> Iterator[tuple[str, ...]]:
    """A process of its own for each size."""
    for rows in (1_000_000, 10_000_000):
        data = work / f"memory-{rows}.parquet"
        repeat(trips, rows, data)
        cost = measure([sys.executable, "-m", "benchmarks.batch", str(home), str(data), str(work / f"memory-{rows}")])
        yield f"{rows:,}", f"{cost.wall_seconds:.0f}", f"{cost.peak_mib:.0f}"
        data.unlink()


def repeat(trips: Path, rows: int, out: Path) -> None:
    """Trips drawn again and again, as Parquet."""
    table = csv.read_csv(trips)
    with pq.ParquetWriter(out, table.schema) as writer:
        for start in range(0, rows, GROUP_ROWS):
            drawn = np.random.default_rng(start).integers(0, table.num_rows, min(GROUP_ROWS, rows - start))
            writer.write_table(table.take(pa.array(drawn)))


def bare_loop(model: Path, schema_uri: str, data: Path, work: Path) -> None:
    """Read, predict by `raw`, write; nothing else."""
    predictor, features = Predictor(model), model_inputs(read_schema(schema_uri))
    writer = None
    with pq.ParquetFile(data) as parquet:
        for batch in parquet.iter_batches(LOOP_ROWS):
            scores = pa.array(predictor.predict(raw_inputs(batch, features)))
            answered = batch.append_column("score", scores)
            writer = writer or pq.ParquetWriter(work / "bare.parquet", answered.schema)
            writer.write_batch(answered)
    assert writer
    writer.close()


def predict_table(home: Path, data: Path, to: Path) -> None:
    """All steps of the pipeline, in this process."""
    shutil.rmtree(to, ignore_errors=True)
    store, sources = str(home / "models"), str(home / "sources")
    places = {"store_uri": store, "sources_uri": sources, "batch_uri": "", "snapshots_uri": ""}
    job = resolve_job(BatchConfig(), MODEL, str(data), 1, str(to), [], run="bench", **places)
    checked = validate(job)
    predict(job, checked, 0, 1)
    end(job, checked, "bench")


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    predict_table(*map(Path, sys.argv[1:]))
