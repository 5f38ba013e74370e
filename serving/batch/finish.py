"""Ends a job whose parts are all there: one quarantine, one file or a table where that was asked for, the manifest."""

from __future__ import annotations

import csv
import hashlib
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO

import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from serving.batch.check import BatchCheck
from serving.batch.job import Job
from serving.batch.predict import Part, quarantine_of, read_part
from serving.batch.table import load_table
from serving.batch.units import QUARANTINED, Plan, open_parquet
from slipway.stores import storage

READERS = 16


class Manifest(BaseModel):
    """What a job wrote, and by which version of which data."""

    job: Job
    digest: str = Field(description="of the job: equal jobs write equal predictions")
    rows: int = Field(description="that the data have")
    predicted: int
    quarantined: int
    parts: list[Part]
    columns: dict[str, str] = Field(description="name to type")
    warnings: list[str] = Field([], description="what validation found that is no reason to refuse, drift among it")
    run: str = ""
    created: float = Field(description="seconds since 1970, UTC")

    @property
    def said(self) -> str:
        """In words: how many rows, by what, and where they are."""
        aside = f", {self.quarantined:,} in quarantine ({self.job.quarantine})" if self.quarantined else ""
        version = f"version {self.job.version} of {self.job.model}"
        return f"{self.predicted:,} of {self.rows:,} rows predicted by {version}{aside}: {self.job.to}"


def finish(job: Job, plan: Plan, checked: BatchCheck, run: str = "") -> Manifest:
    """Writes the quarantine and the manifest, which is the last file, and removes the work folder.

    Raises:
        StoreError: a part is missing.
    """
    with ThreadPoolExecutor(READERS) as threads:
        parts = list(threads.map(lambda unit: read_part(job, unit.index), plan.units))
    quarantined = sum(part.quarantined for part in parts) + plan.quarantined
    if quarantined:
        _gather_quarantine(job, plan, parts)
    columns = _columns(job)
    if job.format == "bigquery":
        load_table(job, [job.part(unit.index) for unit in plan.units], partial(_join_parquet, job, len(parts)))
    elif job.is_one_file:
        parts = [_join(job, parts)]
    manifest = Manifest(
        job=job,
        digest=job.digest,
        rows=checked.rows,
        predicted=sum(part.rows for part in parts),
        quarantined=quarantined,
        parts=parts,
        columns=columns,
        warnings=checked.warnings,
        run=run,
        created=time.time(),
    )
    storage.write_text(job.manifest, manifest.model_dump_json(indent=1))
    storage.delete_folder(job.work)
    return manifest


def read_manifest(job: Job) -> Manifest:
    """The manifest of a job that is done; StoreError if there is none."""
    return Manifest.model_validate_json(storage.read_bytes(job.manifest))


def _gather_quarantine(job: Job, plan: Plan, parts: list[Part]) -> None:
    uris = [storage.join(job.work, QUARANTINED)] if plan.quarantined else []
    uris += [quarantine_of(job, unit.index) for unit, part in zip(plan.units, parts, strict=True) if part.quarantined]
    with storage.creating(job.quarantine, job.work) as path, path.open("wb") as file:
        for uri in uris:
            _append(uri, file)


def _columns(job: Job) -> dict[str, str]:
    first = job.part(0)
    if job.format == "csv":
        with storage.open_read(first) as file:
            return dict.fromkeys(next(csv.reader(line.decode() for line in file)), "text")
    with open_parquet(first) as parquet:
        return {one.name: str(one.type) for one in parquet.schema_arrow}


def _join(job: Job, parts: list[Part]) -> Part:
    """One file of all parts, in their order."""
    with storage.creating(job.to, job.work) as path:
        if job.format == "csv":
            with path.open("wb") as file:
                for index in range(len(parts)):
                    _append(job.part(index), file, without_header=index > 0)
        else:
            _join_parquet(job, len(parts), path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = job.to.partition("?")[0].rpartition("/")[2]
        rows, bad = sum(part.rows for part in parts), sum(part.quarantined for part in parts)
        return Part(path=name, rows=rows, quarantined=bad, size=path.stat().st_size, sha256=digest)


def _join_parquet(job: Job, parts: int, path: Path) -> None:
    """The row groups of all parts in one file."""
    with ExitStack() as stack:
        writer = None
        for index in range(parts):
            with open_parquet(job.part(index)) as parquet:
                writer = writer or stack.enter_context(pq.ParquetWriter(path, parquet.schema_arrow))
                for group in range(parquet.num_row_groups):
                    writer.write_table(parquet.read_row_group(group))


def _append(uri: str, file: IO[bytes], *, without_header: bool = False) -> None:
    with storage.open_read(uri) as reader:
        if without_header:
            reader.readline()
        shutil.copyfileobj(reader, file, storage.BLOCK_BYTES)
