"""Predicts the units of a job, one after the other; a unit whose part is there is left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv
from pydantic import BaseModel

from serving.batch.check import sort_rows
from serving.batch.job import Job
from serving.batch.rules import Rules
from serving.batch.units import Plan, Unit, UnitReader
from serving.batch.version import VERSION, VersionModel
from slipway.data.examples.ingest import read_ahead
from slipway.data.examples.rows import Quarantine
from slipway.errors import DataError, StoreError
from slipway.stores import storage
from slipway.stores.artifacts import parse_json


class Part(BaseModel):
    """What is known of a unit's part."""

    path: str
    rows: int
    quarantined: int
    size: int
    sha256: str


def predict_units(
    job: Job, plan: Plan, reader: UnitReader, model: VersionModel, shard: int = 0, shards: int = 1,
    on_part: Callable[[Part], None] = lambda _: None,
) -> None:  # fmt: skip
    """Predicts each unit whose index leaves the remainder `shard`."""
    done = set(storage.list_names(job.folder))
    for unit in plan.units:
        if unit.index % shards == shard and job.part_name(unit.index) not in done:
            on_part(_predict_unit(job, unit, reader, model))


def read_part(job: Job, index: int) -> Part:
    """What is known of a part; StoreError if it was not predicted."""
    if not storage.exists(job.part(index)):
        raise StoreError(f"{job.part(index)} is missing: its shard did not end well; run the same command again")
    return parse_json(storage.read_bytes(_record(job, index)), Part, _record(job, index), "delete its part, run again")


def quarantine_of(job: Job, index: int) -> str:
    """URI of the rows of a unit that were not predicted."""
    return storage.join(job.work, f"quarantine-{index:05d}.jsonl")


def _record(job: Job, index: int) -> str:
    return storage.join(job.work, f"part-{index:05d}.json")


def _predict_unit(job: Job, unit: Unit, reader: UnitReader, model: VersionModel) -> Part:
    """Writes what is known of the part first, and the part last: it is there only if all else is."""
    rules, rows = Rules(model.inputs.schema), 0
    part = job.part(unit.index)
    with TemporaryDirectory(prefix="slipway-batch-") as folder, storage.creating(part, job.work) as path:
        quarantine = Quarantine(Path(folder) / "quarantine.jsonl")
        with closing(quarantine), closing(_Writer(job, path)) as writer:
            for table in read_ahead(_answers(job, unit, reader, model, rules, quarantine)):
                rows += table.num_rows
                writer.write(table)
        if quarantine.count:
            storage.copy(str(quarantine.path), quarantine_of(job, unit.index))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        known = Part(path=job.part_name(unit.index), rows=rows, quarantined=quarantine.count,
                    size=path.stat().st_size, sha256=digest)  # fmt: skip
        storage.write_text(_record(job, unit.index), known.model_dump_json())
    return known


def _answers(
    job: Job, unit: Unit, reader: UnitReader, model: VersionModel, rules: Rules, quarantine: Quarantine
) -> Iterator[pa.Table]:
    """The kept columns of a unit's rows with the answers, batch by batch; the next one is read meanwhile."""
    for found in read_ahead(sort_rows(rows, rules) for rows in reader.read(unit)):
        for one in found.bad:
            quarantine.add(*one)
        yield answered(job, model, found.inputs, found.kept)


def answered(job: Job, model: VersionModel, inputs: pa.RecordBatch, kept: pa.RecordBatch) -> pa.Table:
    """Rows as they are written: what is kept of them, the answers, and the version.

    An answer with the name of a kept column gets `predicted_` before its own, as often as it takes.
    """
    columns = dict(zip(kept.schema.names, kept.columns, strict=True))
    taken = {name.lower() for name in columns}
    answers = model.columns(model.predict(inputs)) | {VERSION: pa.array(np.full(inputs.num_rows, job.version))}
    for name, values in answers.items():
        while name.lower() in taken:
            name = f"predicted_{name}"
        columns[name] = values
    return pa.table(columns)


class _Writer:
    """Writes tables of the same columns as Parquet, with the version in the file's metadata, or as CSV."""

    def __init__(self, job: Job, path: Path) -> None:
        self._job, self._path = job, path
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = self._open(table.schema)
        self._writer.write_table(table.replace_schema_metadata(self._metadata) if self._job.format != "csv" else table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    @property
    def _metadata(self) -> dict[str, str]:
        job = self._job
        return {
            "slipway.model": job.model,
            "slipway.version": str(job.version),
            "slipway.model_digest": job.model_digest,
            "slipway.source_digest": job.source_digest,
            "slipway.job": job.digest,
        }

    def _open(self, schema: pa.Schema) -> Any:
        if self._job.format != "csv":
            return pq.ParquetWriter(self._path, schema.with_metadata(self._metadata))
        nested = [one.name for one in schema if pa.types.is_nested(one.type) or pa.types.is_binary(one.type)]
        if nested:
            raise DataError(f"CSV cannot hold {', '.join(nested)}: write Parquet, or name other columns with --columns")
        return csv.CSVWriter(self._path, schema)
