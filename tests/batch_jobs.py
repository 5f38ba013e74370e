"""A store with a tiny model, tables for it, and jobs of batch prediction run step by step in this process."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.batch.check import BatchCheck
from serving.batch.config import BatchConfig
from serving.batch.finish import Manifest
from serving.batch.job import Job
from serving.batch.resolve import resolve_job
from serving.batch.steps import end, predict, validate
from slipway.data.examples.source import Join
from slipway.data.schema import parse_schema
from slipway.monitoring.baseline import Baseline
from slipway.monitoring.counts import choose_cells, count
from slipway.stores import storage
from slipway.stores.model_store import ModelStore, open_store
from tests.model_files import provenance

MODEL = "tiny"
SCHEMA = """
feature { name: "size" type: FLOAT presence { min_count: 1 } value_count { min: 1 max: 1 } float_domain { max: 100 } }
feature { name: "rooms" type: INT presence { min_count: 1 min_fraction: 0.5 } value_count { min: 1 max: 1 } }
feature { name: "town" type: BYTES value_count { min: 1 max: 1 } domain: "town" }
feature { name: "label" type: INT not_in_environment: "SERVING" }
string_domain { name: "town" value: "Ulm" value: "Bonn" value: "Berlin" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
NAMES = ["id", "size", "rooms", "town"]


def table(rows: int, seed: int = 3) -> pa.Table:
    """Rows as the tiny model was trained on; some values are missing, and there is a key."""
    rng = np.random.default_rng(seed)
    missing = rng.random((3, rows)) < 0.1
    return pa.table(
        {
            "id": pa.array([f"{number:06d}" for number in range(rows)]),
            "size": pa.array(rng.normal(size=rows).round(4), mask=missing[0]),
            "rooms": pa.array(rng.integers(1, 6, rows), mask=missing[1]),
            "town": pa.array([["Ulm", "Bonn", "Berlin"][i % 3] for i in range(rows)], mask=missing[2]),
        }
    )


def with_values(rows: pa.Table, name: str, values: dict[int, Any]) -> pa.Table:
    column = rows[name].to_pylist()
    for row, value in values.items():
        column[row] = value
    return rows.set_column(rows.column_names.index(name), name, [column])


def write_csv(rows: pa.Table, path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows.column_names)
        writer.writerows([["" if one is None else one for one in row.values()] for row in rows.to_pylist()])
    return path


def push(store: ModelStore, model: Path, folder: Path) -> None:
    """Pushes the tiny model with its schema and its baseline, and makes it stable."""
    schema = folder / "schema"
    schema.mkdir(parents=True, exist_ok=True)
    (schema / "schema.pbtxt").write_text(SCHEMA)
    parse_schema(SCHEMA)
    trained = table(2_000, seed=1)
    counts = {name: count(trained[name], choose_cells(trained[name])) for name in ("size", "rooms", "town")}
    labels = pa.chunked_array([pa.array([0, 1] * 1_000)])
    baseline = Baseline(rows=2_000, features=counts, label="label", labels=count(labels, choose_cells(labels)))
    origin = provenance(MODEL).model_copy(update={"artifacts": {"schema": str(schema)}})
    pushed = store.push(model, origin, baseline.model_dump_json()).version
    store.promote(MODEL, pushed.number)


@dataclass
class Batch:
    """Where jobs take their things from; `home` may be gs://."""

    home: str
    config: dict[str, Any] = field(default_factory=dict)
    joins: list[Join] = field(default_factory=list)
    snapshots: str = ""

    @property
    def store(self) -> ModelStore:
        return open_store(storage.join(self.home, "models"))

    def resolve(self, data: str | Path, to: str | Path, **asked: Any) -> Job:
        config = BatchConfig.model_validate({**self.config, "batch_prediction": asked})
        places = {f"{name}_uri": storage.join(self.home, name) for name in ("sources", "batch")}
        places |= {"store_uri": self.store.uri, "snapshots_uri": self.snapshots}
        return resolve_job(config, MODEL, str(data), 1, str(to), self.joins, run="run-1", **places)

    def run(self, data: str | Path, to: str | Path, shards: int = 1, **asked: Any) -> Manifest:
        """All steps, as the pipeline calls them."""
        job = self.resolve(data, to, **asked)
        checked = BatchCheck.model_validate_json(validate(job).model_dump_json())
        for shard in range(shards):
            predict(job, checked, shard, shards)
        return end(job, checked, "run-1")


def read(folder: str | Path) -> pa.Table:
    """The predictions of a folder, or of a file, by name of their parts."""
    uris = [str(folder)]
    if not str(folder).partition("?")[0].endswith(".parquet"):
        uris = [one.uri for one in storage.list_files(str(folder)) if one.name.endswith(".parquet")]
    parts = []
    for uri in uris:
        with storage.open_read(uri) as file:
            parts.append(pq.read_table(file))
    return pa.concat_tables(parts)


def quarantined(folder: str | Path) -> list[dict[str, Any]]:
    uri = storage.join(str(folder), "quarantine.jsonl")
    return [json.loads(line) for line in storage.read_text(uri).splitlines()] if storage.exists(uri) else []
