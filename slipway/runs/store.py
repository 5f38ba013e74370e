"""Records of runs: one directory each, on this machine or on gs://, however the run ended."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.errors import StoreError
from slipway.runs.process import is_alive
from slipway.runs.record import Lineage, Outcome, RolloutOutcome, RunState, Step, StepsFile, Summary
from slipway.runs.summary import read_record, summarise
from slipway.stores import storage

STEPS, OUTCOME, ROLLOUT, LAST_STEP = "steps.json", "outcome.json", "rollout.json", "last_step.json"
SUMMARY, REPORT, NOTIFIED = "summary.json", "report.html", "notified.txt"


@dataclass(frozen=True)
class RunView:
    """One run as people ask for it; `problem` says what of its record cannot be read."""

    name: str
    uri: str
    steps: list[Step]
    summary: Summary
    problem: str = ""

    @property
    def state(self) -> RunState:
        """How the run ended, or that it has not."""
        return self.summary.state

    @property
    def seconds(self) -> float | None:
        """Wall time from the start to the end, or None while it is running."""
        started, finished = self.summary.lineage.started, self.summary.finished
        return round(finished - started, 3) if started and finished else None

    @property
    def rollout(self) -> RolloutOutcome | None:
        """What became of the pushed version; a retry that refuses the model leaves that of the attempt before."""
        return read_record(self.uri, ROLLOUT, RolloutOutcome) if self.summary.verdict != "refused" else None

    @property
    def report(self) -> str | None:
        """Path or URI of the run's page, if there is one."""
        uri = storage.join(self.uri, REPORT)
        return uri if storage.exists(uri) else None

    def as_json(self) -> dict[str, Any]:
        """What `slipway runs show --json` prints; keys are only ever added."""
        summary, lineage = self.summary, self.summary.lineage
        steps = ("name", "state", "seconds", "cached", "cpu_seconds", "peak_mib", "log", "error")
        return {
            "run": self.name,
            "state": self.state,
            "module": lineage.module,
            "started": lineage.started,
            "seconds": self.seconds,
            "steps": [{key: getattr(step, key) for key in steps} for step in self.steps],
            "rows": summary.rows.model_dump(),
            "metrics": summary.metrics,
            "verdict": summary.verdict,
            "reasons": summary.reasons,
            "failed_step": summary.failed_step,
            "error": summary.error,
            "pushed_version": summary.pushed_version,
            "pushed_path": summary.pushed_path,
            "baseline_version": summary.baseline_version,
            "report": self.report,
            "data_uri": lineage.data_uri,
            "data_digest": summary.data_digest,
            "module_digest": lineage.module_digest,
            "git_revision": lineage.git_revision,
            "image": lineage.image,
            "target": lineage.target,
            "seed": lineage.seed,
            "artifacts": summary.artifacts,
            "problem": self.problem,
        }


def list_runs(runs: str | Path) -> list[RunView]:
    """All runs below a directory or gs:// URI, newest first; a damaged record is listed with its problem."""
    views = [view_run(storage.join(str(runs), name)) for name in _names(runs)]
    return sorted(views, key=lambda view: (view.summary.lineage.started, view.name), reverse=True)


def load_run(runs: str | Path, name: str | None = None) -> RunView:
    """One run by its name, or by a beginning of it that no other has; the newest without a name.

    Raises:
        StoreError: there is no such run; the message lists the nearest names.
    """
    names = _names(runs)
    if not names:
        raise StoreError(f"there are no runs in {runs}; `slipway run` makes one")
    if name is None:
        return list_runs(runs)[0]
    matches = [name] if name in names else [known for known in names if known.startswith(name)] if name else []
    if len(matches) == 1:
        return view_run(storage.join(str(runs), matches[0]))
    near = matches or difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[-3:]
    kind = "more than one run begins with" if matches else "there is no run"
    raise StoreError(f"{kind} {name!r} in {runs}; the nearest: {', '.join(near[-5:])}")


def _names(runs: str | Path) -> list[str]:
    names = storage.list_names(str(runs))
    return names if storage.is_remote(str(runs)) else [name for name in names if Path(runs, name).is_dir()]


def view_run(folder: str | Path) -> RunView:
    """Merges what the runner, push_model and the exit handler wrote."""
    uri = str(folder)
    run = uri.partition("?")[0].rpartition("/")[2] if storage.is_remote(uri) else Path(folder).name
    recorded = read_record(uri, STEPS, StepsFile)
    summary = read_record(uri, SUMMARY, Summary)
    outcome = read_record(uri, OUTCOME, Outcome)
    problem = ", ".join(
        name
        for name, read in ((STEPS, recorded), (SUMMARY, summary), (OUTCOME, outcome))
        if read is None and storage.exists(storage.join(uri, name))
    )
    problem = f"{problem} cannot be read" if problem else ""
    if recorded is None:
        problem = problem or ("" if summary else "its directory holds no record")
        return RunView(run, uri, [], summary or _unknown(run, uri, outcome), problem)
    state = _state(recorded, summary)
    steps = _in_order(recorded.steps if state == "running" else [_ended(step) for step in recorded.steps])
    # The exit handler wrote its summary before the runner was through: what the runner says of the end counts.
    if summary is None or summary.state != state:
        summary = summarise(recorded.lineage, state, steps, outcome)
    finished = recorded.finished or summary.finished
    if state == "interrupted":
        finished = max((step.started + (step.seconds or 0) for step in steps if step.started), default=0.0)
    summary = summary.model_copy(update={"finished": finished})
    return RunView(run, uri, steps, summary, problem)


def _state(recorded: StepsFile, summary: Summary | None) -> RunState:
    if recorded.finished is not None:
        return "failed" if any(step.state == "failed" for step in recorded.steps) else "succeeded"
    if is_alive(recorded.pid, recorded.pid_started):
        return "running"
    return summary.state if summary else "interrupted"


def _in_order(steps: list[Step]) -> list[Step]:
    """As they were started; then those that were not; the exit handler, which is recorded last, stays last."""
    return [*sorted(steps[:-1], key=lambda step: step.started or math.inf), *steps[-1:]]


def _ended(step: Step) -> Step:
    """A step that was running when its run was killed."""
    if step.state != "running":
        return step
    return step.model_copy(update={"state": "failed", "error": "interrupted: the process that ran it is gone"})


def _unknown(run: str, uri: str, outcome: Outcome | None) -> Summary:
    """The most that can be said of a directory without a readable record."""
    started = 0.0 if storage.is_remote(uri) else Path(uri).stat().st_mtime
    lineage = Lineage(run=run, module="", module_digest="", data_uri="", started=started)
    return summarise(lineage, "interrupted", [], outcome)
