"""A job: which data a version predicts, and to where. What it writes, it writes once; so a killed job goes on.

Below the destination:

- `part-00000.parquet` and on   the predictions of a unit of rows; a part that is there is done
- `quarantine.jsonl`            the rows that were not predicted, with reasons; no file if there are none
- `manifest.json`               written last: version, digests, rows, parts, what was found in the data
- `_job/`                       while the job runs: `job.json`, `plan.json`, and what is known of each unit

A destination that ends in .parquet or .csv is one file; manifest and quarantine lie beside it, under its name. Of a
table of BigQuery all of it lies below the environment's home, in `batch/<digest>/`.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, Field

from slipway.data.examples.bigquery import SCHEME
from slipway.data.examples.source import digest_of
from slipway.errors import ConfigError, StoreError
from slipway.module_api import Ingestion, Monitoring
from slipway.remote.address import shown
from slipway.stores import storage
from slipway.stores.artifacts import parse_json

MANIFEST, QUARANTINE, WORK, JOB, PLAN = "manifest.json", "quarantine.jsonl", "_job", "job.json", "plan.json"
Format = Literal["parquet", "csv", "bigquery"]


class Job(BaseModel):
    """Everything that decides the bytes of the predictions, and where things lie."""

    model: str
    version: int
    model_digest: str
    store: str
    schema_uri: str = Field("", description="artifact with the schema that the version was trained by")
    data_uri: str
    source_uri: str
    source_digest: str
    to: str
    format: Format
    columns: str = Field("all", description="all, keys, or names with commas between")
    key: tuple[str, ...] = ()
    ingestion: Ingestion
    monitoring: Monitoring
    decision: float = Field(0.5, description="a probability above it makes the second of two classes")
    home: str = Field("", description="folder of jobs that write no files of their own")

    @property
    def digest(self) -> str:
        """Equal for jobs that write the same; the monitor's bounds only warn."""
        chosen = self.columns, *self.key, self.ingestion.model_dump_json(), str(self.decision)
        return digest_of(self.model, str(self.version), self.model_digest, self.source_digest, self.to, self.format,
                         *chosen)  # fmt: skip

    @property
    def is_one_file(self) -> bool:
        """Whether the parts become one file at the end."""
        return self.format != "bigquery" and suffix_of(self.to) is not None

    @property
    def folder(self) -> str:
        """Folder of parts, work, manifest and quarantine; of one file, that of its work alone."""
        if self.format == "bigquery":
            return storage.join(self.home, self.digest)
        return _beside(self.to, ".job") if self.is_one_file else self.to

    @property
    def work(self) -> str:
        """Folder of what is removed at the end."""
        return self.folder if self.is_one_file else storage.join(self.folder, WORK)

    @property
    def manifest(self) -> str:
        """URI of the manifest."""
        return _beside(self.to, f".{MANIFEST}") if self.is_one_file else storage.join(self.folder, MANIFEST)

    @property
    def quarantine(self) -> str:
        """URI of the quarantine."""
        return _beside(self.to, f".{QUARANTINE}") if self.is_one_file else storage.join(self.folder, QUARANTINE)

    def part_name(self, index: int) -> str:
        """Name of the file of a unit's predictions."""
        return f"part-{index:05d}.{'csv' if self.format == 'csv' else 'parquet'}"

    def part(self, index: int) -> str:
        """URI of the predictions of a unit."""
        return storage.join(self.folder, self.part_name(index))


def suffix_of(uri: str) -> Format | None:
    """The format of a destination that is one file; None of a folder."""
    found = re.search(r"\.(csv|parquet)$", uri.partition("?")[0], re.IGNORECASE)
    return found[1].lower() if found else None  # type: ignore[return-value]


def format_of(to: str, chosen: str) -> Format:
    """The format of a destination, as its name says or as it was chosen.

    Raises:
        ConfigError: the two differ, or the format is unknown.
    """
    told = "bigquery" if to.startswith(SCHEME) else suffix_of(to)
    if chosen not in ("", "parquet", "csv"):
        raise ConfigError(f"--format {chosen}: write parquet or csv; a table of BigQuery is --to {SCHEME}…")
    if told and chosen and told != chosen:
        raise ConfigError(f"--format {chosen}, but --to {to} is {told}: leave --format out, or correct --to")
    if told == "bigquery" and not re.fullmatch(r"[^.]+\.[^.]+\.[^.]+", to.removeprefix(SCHEME)):
        raise ConfigError(f"--to {to}: write {SCHEME}project.dataset.table")
    return told or chosen or "parquet"  # type: ignore[return-value]


def begin(job: Job) -> bool:
    """Writes `job.json` where nobody else has written; returns whether the job is done already.

    Raises:
        StoreError: the destination has the output of another job, or other files.
    """
    if storage.exists(job.manifest):
        found = parse_json(storage.read_bytes(job.manifest), _Begun, job.manifest, "delete it").job
        if found.digest == job.digest:
            return True
        raise StoreError(f"{job.to} has the predictions of another job: {_differences(found, job)}. Name another "
                         "--to, or delete them")  # fmt: skip
    begun = storage.join(job.work, JOB)
    if storage.exists(begun):
        found = parse_json(storage.read_bytes(begun), Job, begun, f"delete {shown(job.work)}")
        if found.digest != job.digest:
            raise StoreError(f"{job.to} was begun by another job: {_differences(found, job)}. Finish that job, name "
                             f"another --to, or delete it and {job.work}")  # fmt: skip
    elif job.is_one_file and storage.exists(job.to):
        raise StoreError(f"{job.to} is there already, and no job wrote it: name another --to, or delete it")
    elif job.folder == job.to and (names := [name for name in storage.list_names(job.folder) if name[0] != "."]):
        # A killed start leaves S3's probe of conditions, if nothing else.
        raise StoreError(f"{job.folder} is not empty ({', '.join(names[:3])}): name a new folder as --to")
    elif not storage.write_new(begun, job.model_dump_json(indent=1).encode()):
        raise StoreError(f"{job.to} was begun by another run just now: run again when it has ended, or name another "
                         "--to")  # fmt: skip
    return False


class _Begun(BaseModel):
    job: Job


def _differences(found: Job, job: Job) -> str:
    shown = {"version": "version", "data_uri": "data", "source_digest": "content of the data", "columns": "columns",
             "format": "format", "ingestion": "ingestion of module.yaml", "model": "model"}  # fmt: skip
    said = [f"its {name} is {_short(getattr(found, key))}, not {_short(getattr(job, key))}"
            for key, name in shown.items() if getattr(found, key) != getattr(job, key)]  # fmt: skip
    return "; ".join(said) or "its settings are others"


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text


def _beside(uri: str, ending: str) -> str:
    path, question, query = uri.partition("?") if storage.is_remote(uri) else (uri, "", "")
    return f"{path}{ending}{question}{query}"
