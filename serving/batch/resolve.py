"""Finds what a job is: the version, the data, and whether the destination is its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from serving.batch.config import BatchConfig
from serving.batch.job import Job, begin, format_of
from serving.batch.table import is_loaded
from serving.batch.version import choose_version
from slipway.data.examples.source import SPAN, Join, Source, write_source
from slipway.data.snapshots.resolve import resolve
from slipway.errors import ConfigError, StoreError
from slipway.stores import storage
from slipway.stores.model_store import open_store

RUN = "{RUN}"
_GIVEN_BY = "--batch"


def resolve_job(
    config: BatchConfig,
    model: str,
    data_uri: str,
    window: int,
    to: str,
    joins: Sequence[Join],
    *,
    store_uri: str,
    sources_uri: str,
    snapshots_uri: str,
    batch_uri: str,
    run: str,
) -> Job:
    """The job, begun; its later steps take all that they need from it.

    Args:
        config: Of module.yaml.
        model: Name of the model.
        data_uri: As training takes it.
        window: How many of the newest spans are read.
        to: The destination, in which {SPAN} and {RUN} may stand.
        joins: The shared features that are joined to the rows.
        store_uri: The model store.
        sources_uri: Where sources are kept.
        snapshots_uri: Where snapshots are kept.
        batch_uri: Where predictions lie on their way to BigQuery.
        run: Name of the run.

    Raises:
        ConfigError: something that was given is wrong.
        DataError: the data cannot be found.
        StoreError: there is no such version, the destination belongs to another job, or its predictions are gone.
    """
    asked, store = config.batch_prediction, open_store(store_uri)
    version = choose_version(store, model, asked.version, asked.stage)
    source = resolve(data_uri, window, snapshots_uri, joins, _GIVEN_BY)
    to = _filled(to, source, run)
    manifest = version.manifest
    job = Job(
        model=model,
        version=version.number,
        model_digest=manifest.model_digest,
        store=store_uri,
        schema_uri=manifest.artifacts.get("schema", ""),
        data_uri=data_uri,
        source_uri=write_source(source, sources_uri),
        source_digest=source.digest,
        to=to,
        format=format_of(to, asked.format or ""),
        columns=asked.columns,
        key=config.monitoring.key,
        ingestion=config.ingestion,
        monitoring=config.monitoring,
        decision=config.decision,
        home=batch_uri,
    )
    first = job.to if job.is_one_file else job.part(0)
    is_there = is_loaded(job) if job.format == "bigquery" else storage.exists(first)
    if begin(job) and not is_there:
        raise StoreError(f"{job.manifest} tells of predictions that are gone from {to}: delete it, then run again")
    return job


def _filled(to: str, source: Source, run: str) -> str:
    if not to:
        raise ConfigError("there is no place for the predictions: give --to, or batch_prediction.to in module.yaml")
    if SPAN in to and not source.spans:
        raise ConfigError(f"to = {to}: {SPAN} stands for a span of the data, and {source.uri} has none")
    filled = to.replace(SPAN, str(source.spans[-1]) if source.spans else "").replace(RUN, run)
    if unknown := re.search(r"\{[A-Z]+\}", filled):
        raise ConfigError(f"to = {to}: {unknown[0]} means nothing; known are {SPAN} and {RUN}")
    return filled if "://" in filled else str(storage.local_path(filled).expanduser().absolute())
