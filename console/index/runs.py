"""One run as lists show it and searches find it, and where runs are read from."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from console.records import view_own
from pipelines.registry import Locations
from slipway.evaluation.metric import METRICS, key_metrics
from slipway.pages.page import Tone
from slipway.remote.objects import StoredObject, open_objects
from slipway.runs.notes import NOTES
from slipway.runs.record import RunState
from slipway.runs.store import OUTCOME, STEPS, SUMMARY, RunView
from slipway.runs.summary import TUNING
from slipway.runs.where import Fact, facts_of
from slipway.stores import storage

RECORD = (STEPS, SUMMARY, OUTCOME, TUNING, NOTES)
FRESH_SECONDS = 5
REMOTE_READERS = 8


class RunEntry(BaseModel):
    """A run in a list. `figures` are the key metrics of its task; `facts` are what conditions may name."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # so that what is written can be read

    name: str
    state: RunState
    verdict: str
    tone: Tone
    reasons: list[str]
    module: str
    pipeline: str
    target: str
    data: str
    data_digest: str
    rows: int
    version: int | None
    started: float
    started_by: str
    seconds: float | None
    figures: dict[str, float | None]
    tags: dict[str, str]
    note: str
    problem: str
    facts: dict[str, Fact]

    def has(self, words: list[str]) -> bool:
        """Whether each word, in small letters, stands somewhere in it."""
        tags = [f"{key}={value}" for key, value in self.tags.items()]
        said = [self.name, self.state, self.verdict, self.data, self.started_by, self.note, *tags, *self.reasons]
        text = "\n".join(said).lower()
        return all(word in text for word in words)


def entry_of(view: RunView) -> RunEntry:
    """The entry of a run."""
    summary, lineage, told = view.summary, view.summary.lineage, view.summary.told
    badly = view.state not in ("running", "succeeded")
    return RunEntry(
        name=view.name,
        state=view.state,
        verdict=told.text if told else "",
        tone=told.tone if told else "bad" if badly else "plain",
        reasons=summary.reasons[:3],
        module=lineage.module,
        pipeline=lineage.pipeline,
        target=lineage.target,
        data=lineage.data_uri,
        data_digest=summary.data_digest,
        rows=summary.rows.read,
        version=summary.pushed_version,
        started=lineage.started,
        started_by=lineage.started_by,
        seconds=view.seconds,
        figures=key_figures(summary.metrics),
        tags=view.notes.tags,
        note=view.notes.note,
        problem=view.problem,
        facts=facts_of(view),
    )


def key_figures(metrics: dict[str, float | None]) -> dict[str, float | None]:
    """The key figures among metrics: those of the task that has the most of all of them."""
    task = max(METRICS, key=lambda one: sum(metric.name in metrics for metric in METRICS[one]))
    return {name: metrics[name] for name in key_metrics(task) if name in metrics}


class RunRecords:
    """The runs of an environment, for the index."""

    kind = RunEntry

    def __init__(self, state: Locations) -> None:
        self.state = state
        self.is_remote = storage.is_remote(state.runs)
        self.every_seconds = 5.0 if self.is_remote else 0.5
        self.readers = REMOTE_READERS if self.is_remote else 1  # a disk is fast: threads would only wait for Python
        self._files: dict[str, list[str]] = {}  # of the record of each run in a bucket

    def marks(self) -> dict[str, str]:
        """Names of the runs, with times and sizes, or generations, of the files of their records."""
        return self._remote_marks() if self.is_remote else self._local_marks()

    def read(self, name: str) -> RunEntry:
        """One run's entry; of a bucket, only what the last listing has is asked for."""
        return entry_of(view_own(self.state, name, self._files.get(name)))

    def is_settled(self, entry: RunEntry) -> bool:
        """A run that goes on, or whose record could not be read, may be another one the next time."""
        return entry.state != "running" and not entry.problem

    def _local_marks(self) -> dict[str, str]:
        if not Path(self.state.runs).is_dir():
            return {}
        marks = {}
        with os.scandir(self.state.runs) as found:
            marks = {one.name: _mark(one.path) for one in found if one.is_dir()}
        return {name: mark for name, mark in marks.items() if mark}

    def _remote_marks(self) -> dict[str, str]:
        """One listing for each 1,000 objects."""
        records: dict[str, dict[str, StoredObject]] = defaultdict(dict)
        for path, found in sorted(open_objects(self.state.runs).objects("").items()):
            run, slash, name = path.partition("/")
            if slash and name in RECORD:
                records[run][name] = found
            elif slash:
                records.setdefault(run, {})
        self._files = {run: _asked_for(files) for run, files in records.items()}
        return {run: " ".join(one.generation for one in files.values()) for run, files in records.items()}


def _asked_for(files: dict[str, StoredObject]) -> list[str]:
    """The files of a record that say something: a summary has all of an outcome that was there before it.

    S3 tells whole seconds: of the same one, either may be the newer.
    """
    summary, outcome = files.get(SUMMARY), files.get(OUTCOME)
    is_told = summary and outcome and outcome.created < summary.created
    return [name for name in files if not (is_told and name == OUTCOME)]


def _mark(folder: str) -> str:
    """Each file of a record is replaced when it is written, which changes its folder's time; empty if it is gone.

    Two changes may be made at one time of the file system's clock; then a file's number tells them apart. To look at
    each file of 1,000 runs takes too long.
    """
    try:
        changed = os.stat(folder).st_mtime_ns  # noqa: PTH116  so many at once
    except FileNotFoundError:
        return ""
    parts = [str(changed)]
    if time.time_ns() - changed < FRESH_SECONDS * 1e9:
        for name in RECORD:
            with suppress(OSError):
                found = os.stat(f"{folder}/{name}")  # noqa: PTH116
                parts.append(f"{name} {found.st_ino} {found.st_mtime_ns}")
    return " ".join(parts)
