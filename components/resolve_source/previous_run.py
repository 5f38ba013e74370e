"""The run before this one, for the comparison of statistics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from slipway.data.examples.dataset import MANIFEST, Manifest
from slipway.errors import StoreError
from slipway.runs.record import Summary
from slipway.runs.store import SUMMARY
from slipway.runs.summary import read_record
from slipway.stores import storage


def find_previous_statistics(module: str, runs_uri: str, digest: str) -> str:
    """URI of the statistics of the module's newest run that succeeded on other data; empty if there is none.

    A run's name does not tell its time: a platform's names are its jobs' ids. So all records are read.
    """
    with ThreadPoolExecutor(16) as threads:
        read = threads.map(
            lambda run: read_record(storage.join(runs_uri, run), SUMMARY, Summary), storage.list_names(runs_uri)
        )
        found = [summary for summary in read if summary is not None]
    for summary in sorted(found, key=lambda one: (one.finished, one.lineage.run), reverse=True):
        if summary.state != "succeeded" or summary.lineage.module != module or not summary.statistics:
            continue
        try:
            if storage.exists(summary.statistics) and _source_digest(summary) != digest:
                return summary.statistics
        except StoreError:
            continue  # its artifacts lie where only the platform can read them
    return ""


def _source_digest(summary: Summary) -> str:
    """The digest of the data that a run read; empty if its examples are gone."""
    try:
        text = storage.read_bytes(storage.join(summary.artifacts.get(summary.lineage.shows.examples, ""), MANIFEST))
        return str(Manifest.model_validate_json(text).source.get("digest", ""))
    except (StoreError, ValidationError):
        return ""
