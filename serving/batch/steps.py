"""The steps of a job after it was resolved; each may be killed, and done again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from serving.batch.check import BatchCheck, check_batch
from serving.batch.finish import Manifest, finish, read_manifest
from serving.batch.job import PLAN, Job
from serving.batch.predict import predict_units
from serving.batch.units import Plan, UnitReader, plan_units
from serving.batch.version import VersionModel, read_inputs
from slipway.data.examples.source import read_source
from slipway.data.validation.report import Validation, describe_anomaly
from slipway.errors import AnomalyError, DataError, StoreError
from slipway.monitoring.baseline import Baseline
from slipway.stores import storage
from slipway.stores.model_store import open_store
from slipway.strict_yaml import did_you_mean


def validate(job: Job) -> BatchCheck:
    """Plans the units of a job, and checks all of its rows."""
    if storage.exists(job.manifest):
        done = read_manifest(job)
        notes = [f"these rows are predicted already: {job.manifest}"]
        return BatchCheck(validation=Validation(), rows=done.rows, bad=done.quarantined, notes=notes)
    source = read_source(job.source_uri)
    with _fetched(job) as path:
        takes = read_inputs(path, job.schema_uri)
    plan = plan_units(source, takes.schema, job.ingestion, job.work)
    reader = UnitReader(source, plan, takes.schema, job.ingestion, ())
    choose_columns(job, reader.columns, takes.names)
    checked = check_batch(job, plan, reader, takes, _baseline(job))
    storage.write_text(storage.join(job.work, PLAN), plan.model_dump_json())
    return checked


def predict(job: Job, checked: BatchCheck, shard: int, shards: int) -> None:
    """Predicts a shard; AnomalyError where the data were refused."""
    if storage.exists(job.manifest):
        return
    if errors := checked.validation.errors:
        said = "\n".join(map(describe_anomaly, errors))
        raise AnomalyError(f"The data are not what the model was trained for; nothing was predicted.\n{said}")
    source, plan = read_source(job.source_uri), read_plan(job)
    with _fetched(job) as path:
        takes = read_inputs(path, job.schema_uri)
        model = VersionModel(path, takes, job.decision)
        kept = choose_columns(job, UnitReader(source, plan, takes.schema, job.ingestion, ()).columns, takes.names)
        reader = UnitReader(source, plan, takes.schema, job.ingestion, kept)
        predict_units(job, plan, reader, model, shard, shards,
                      lambda part: print(f"{part.path}: {part.rows:,} rows", flush=True))  # fmt: skip


def end(job: Job, checked: BatchCheck, run: str) -> Manifest:
    """Writes the manifest, unless it is there; whoever was killed right after it left the work folder."""
    if storage.exists(job.manifest):
        storage.delete_folder(job.work)
        return read_manifest(job)
    return finish(job, read_plan(job), checked, run)


def read_plan(job: Job) -> Plan:
    """The plan that validation wrote."""
    return Plan.model_validate_json(storage.read_bytes(storage.join(job.work, PLAN)))


def choose_columns(job: Job, there: list[str], inputs: list[str]) -> list[str]:
    """The columns that are kept beside the answers.

    Raises:
        DataError: one is not there.
    """
    if job.columns == "all":
        return there
    if job.columns == "keys":
        return [name for name in there if name in job.key] or [name for name in there if name not in inputs]
    named = [name.strip() for name in job.columns.split(",") if name.strip()]
    for name in named:
        if name not in there:
            raise DataError(f"--columns names {name!r}, and {job.data_uri} has no such column"
                            f"{did_you_mean(name, there)}; it has {', '.join(there)}")  # fmt: skip
    return named


@contextmanager
def _fetched(job: Job) -> Iterator[Path]:
    """The version's SavedModel as a folder of this machine."""
    store = open_store(job.store)
    with TemporaryDirectory(prefix="slipway-model-") as folder:
        version = store.version(job.model, job.version)
        if version.manifest.model_digest != job.model_digest:
            raise StoreError(f"version {job.version} of {job.model} is not the one that the job began with")
        yield store.fetch(version, Path(folder))


def _baseline(job: Job) -> Baseline | None:
    store = open_store(job.store)
    try:
        return Baseline.model_validate_json(store.baseline(store.version(job.model, job.version)))
    except StoreError:  # an older release pushed it without
        return None
