"""Records of runs on a cluster that their exit handlers did not make, or could not end rightly.

The exit handler does not run where its own driver failed, or that of the group of all steps; and Kubeflow does not tell
it that the run was cancelled. The platform knows: docs/decisions/0029-a-listing-completes-records.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from components.record_run.run import NAME, record
from delivery.targets.base import RemoteRun, Target
from slipway.runs.record import RunContext, Summary
from slipway.runs.store import SUMMARY, RunView
from slipway.runs.summary import read_record
from slipway.stores import storage

_MISSING = "the exit handler did not run, so this record was made later, from what the platform says of the run"
_CANCELLED = "the run was cancelled"


def complete_records(target: Target, runs_uri: str, runs: Iterable[RemoteRun]) -> Iterator[RunView]:
    """Makes the records that ended runs lack, and corrects those of cancelled runs; yields what it wrote."""
    ended = [run for run in runs if run.ended and "module" in run.labels]
    with ThreadPoolExecutor(16) as threads:
        faults = list(threads.map(lambda run: _fault(storage.join(runs_uri, run.name), run), ended))
    for run, fault in zip(ended, faults, strict=True):
        if not fault:
            continue
        found = target.show(run.id)
        if not found.ended or found.context is None or found.context.uri != storage.join(runs_uri, run.name):
            continue  # it is being retried, or is recorded in another place
        if fault == _MISSING and any(step.name == NAME and step.state == "succeeded" for step in found.steps):
            continue  # it was recorded, and the record deleted since
        yield _record(found.context, found, fault)


def _record(context: RunContext, run: RemoteRun, fault: str) -> RunView:
    failed = next((step for step in run.steps if step.state == "failed" and step.name != NAME), None)
    reasons = [failed.error if failed else "", _CANCELLED if run.state == "cancelled" else run.error, fault]
    message = "\n".join(dict.fromkeys(filter(None, reasons)))
    steps = [step.model_copy(update={"error": message}) if step is failed else step for step in run.steps]
    return record(context, run.state.upper(), message, steps=steps, finished=run.finished)


def _fault(uri: str, run: RemoteRun) -> str:
    """What is wrong with the record of a run that has ended, if anything."""
    if not storage.exists(storage.join(uri, SUMMARY)):
        return _MISSING
    summary = read_record(uri, SUMMARY, Summary) if run.state == "cancelled" else None
    return _CANCELLED if summary and summary.state not in ("cancelled", "succeeded") else ""
