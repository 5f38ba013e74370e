"""Records of runs on a cluster that their exit handlers did not make, or could not end rightly.

The exit handler does not run where its own driver failed, or that of the group of all steps; and Kubeflow does not tell
it that the run was cancelled. The platform knows: docs/decisions/0029-a-listing-completes-records.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from components.record_run.run import NAME, record
from delivery.targets.base import RemoteRun, Target
from slipway.runs.record import Summary
from slipway.runs.store import SUMMARY, RunView
from slipway.runs.summary import read_record
from slipway.stores import storage

_NOT_RUN = "the exit handler did not run, so this record was made later, from what {} says of the run"


def complete_records(target: Target, runs_uri: str, runs: Iterable[RemoteRun]) -> Iterator[RunView]:
    """Makes the records that ended runs lack, and corrects those of cancelled runs; yields what it wrote."""
    for run in runs:
        if run.ended and "module" in run.labels:
            yield from _complete(target, storage.join(runs_uri, run.name), run)


def _complete(target: Target, uri: str, run: RemoteRun) -> Iterator[RunView]:
    missing = not storage.exists(storage.join(uri, SUMMARY))
    if not missing:
        summary = read_record(uri, SUMMARY, Summary) if run.state == "cancelled" else None
        if summary is None or summary.state in ("cancelled", "succeeded"):
            return
    found = target.show(run.id)
    if found.context is None or found.context.uri != uri:  # of a submission with another remote_home
        return
    if missing and any(step.name == NAME and step.state == "succeeded" for step in found.steps):
        return  # it was recorded, and the record deleted since
    failed = next((step for step in found.steps if step.state == "failed" and step.name != NAME), None)
    reasons = [
        failed.error if failed else "",
        "the run was cancelled" if found.state == "cancelled" else found.error,
        _NOT_RUN.format(target.name) if missing else "",
    ]
    message = "\n".join(filter(None, reasons))
    steps = [step.model_copy(update={"error": message}) if step is failed else step for step in found.steps]
    yield record(found.context, found.state.upper(), message, steps=steps, finished=found.finished)
