"""Records of runs: one directory each, on this machine or in a bucket, however the run ended."""

import difflib
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slipway.errors import StoreError
from slipway.lineage import Lineage
from slipway.pages.numbers import MISSING
from slipway.remote.objects import open_objects
from slipway.runs.notes import NOTES, Notes, read_notes
from slipway.runs.process import is_alive
from slipway.runs.record import Outcome, RolloutOutcome, RunState, Step, StepsFile, Summary
from slipway.runs.summary import Record, read_record, summarise, with_tuning
from slipway.stores import storage

STEPS, OUTCOME, ROLLOUT, LAST_STEP = "steps.json", "outcome.json", "rollout.json", "last_step.json"
SUMMARY, REPORT, NOTIFIED = "summary.json", "report.html", "notified.txt"
READERS = 8  # of records in a bucket


@dataclass(frozen=True)
class RunView:
    """One run; `problem` names files of its record that cannot be read, `files` all that it has, if they are known."""

    name: str
    uri: str
    steps: list[Step]
    summary: Summary
    problem: str = ""
    files: Collection[str] | None = None

    @property
    def state(self) -> RunState:
        """State of the run."""
        return self.summary.state

    @property
    def seconds(self) -> float | None:
        """Wall time from the start to the end, or None while it is running."""
        started, finished = self.summary.lineage.started, self.summary.finished
        return round(finished - started, 3) if started and finished else None

    @property
    def rollout(self) -> RolloutOutcome | None:
        """The outcome of the rollout. A retry that refuses the model leaves the file of the attempt before it."""
        refused = self.summary.told is not None and self.summary.told.tone != "good"
        return None if refused else read_record(self.uri, ROLLOUT, RolloutOutcome)

    @cached_property
    def notes(self) -> Notes:
        """Tags and the note that people gave it."""
        return read_notes(self.uri) if self.files is None or NOTES in self.files else Notes()

    @property
    def report(self) -> str | None:
        """Path or URI of the run's page, if there is one."""
        uri = storage.join(self.uri, REPORT)
        return uri if storage.exists(uri) else None

    def as_json(self) -> dict[str, Any]:
        """What `slipway runs show --json` prints; keys are only ever added."""
        steps = ("name", "state", "seconds", "cached", "cpu_seconds", "peak_mib", "log", "error")
        return {
            "run": self.name,
            "seconds": self.seconds,
            "steps": [{key: getattr(step, key) for key in steps} for step in self.steps],
            "report": self.report,
            "problem": self.problem,
            **self.notes.model_dump(),
            **self.summary.lineage.model_dump(exclude={"run", "shows"}),
            **self.summary.model_dump(exclude={"lineage", "statistics", "finished"}),
        }


def lineage_facts(summary: Summary) -> list[tuple[str, str]]:
    """Names and values of a run's lineage, for people."""
    lineage = summary.lineage
    facts = {
        "started by": lineage.started_by,
        "pipeline": lineage.pipeline,
        "data": lineage.data_uri,
        "data digest": summary.data_digest,
        "module": lineage.module,
        "module digest": lineage.module_digest,
        "hyperparameters": assignments(lineage.hyperparameters),
        "overrides": assignments(lineage.overrides),
        "baseline": f"version {summary.baseline_version} of {lineage.module}" if summary.baseline_version else "none",
        **({"repeats": lineage.repeats} if lineage.repeats else {}),
        "git revision": lineage.git_revision,
        "seed": str(lineage.seed),
        "image": lineage.image,
        **({"GPU image": lineage.gpu_image} if lineage.gpu_image else {}),
    }
    return [(name, value or MISSING) for name, value in facts.items()]


def assignments(values: Mapping[str, Any]) -> str:
    """`epochs=3, hidden=[64, 32]`, with values in JSON."""
    return ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items())


def distinctions(views: list[RunView]) -> list[str]:
    """Overrides and hyperparameters of each run that are not the same in all runs of its pipeline and module."""
    lineages = [view.summary.lineage for view in views]
    told = [
        {f"hyperparameters.{key}": one.hyperparameters[key] for key in one.hyperparameters} | one.overrides
        for one in lineages
    ]
    owners = [(lineage.pipeline, lineage.module) for lineage in lineages]
    pairs, runs = list(zip(owners, told, strict=True)), Counter(owners)
    alike = Counter((owner, key, json.dumps(value)) for owner, values in pairs for key, value in values.items())
    return [
        assignments({key: value for key, value in values.items() if alike[owner, key, json.dumps(value)] < runs[owner]})
        for owner, values in pairs
    ]


def list_runs(runs: str | Path) -> list[RunView]:
    """All runs below a directory or remote URI, newest first; a damaged record is listed with its problem."""
    if storage.is_remote(str(runs)):
        files: dict[str, list[str]] = {}  # one listing tells what each record has; each file is a request
        for path in open_objects(str(runs)).objects(""):
            run, slash, name = path.partition("/")
            if slash:
                files.setdefault(run, []).append(name)
        with ThreadPoolExecutor(READERS) as readers:
            views = list(readers.map(lambda run: view_run(storage.join(str(runs), run), files=files[run]), files))
    else:
        views = [view_run(storage.join(str(runs), name)) for name in _names(runs)]
    return sorted(views, key=lambda view: (view.summary.lineage.started, view.name), reverse=True)


def load_run(runs: str | Path, name: str | None = None) -> RunView:
    """One run by its name or an unambiguous beginning of it, the newest without one; StoreError if there is none."""
    names = _names(runs)
    if not names:
        command = "`slipway submit MODULE --target TARGET`" if storage.is_remote(str(runs)) else "`slipway run`"
        raise StoreError(f"there are no runs in {runs}; {command} makes one")
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


def view_run(
    folder: str | Path, *, files: Collection[str] | None = None, may_read: Callable[[str], bool] | None = None
) -> RunView:
    """Merges the files of the runner, of the step that came to a verdict and of the exit handler.

    Others than `files` are not asked for. Artifacts that `may_read` does not allow are neither read nor named.
    """
    uri = str(folder)
    run = uri.partition("?")[0].rpartition("/")[2] if storage.is_remote(uri) else Path(folder).name

    def read(name: str, kind: type[Record]) -> Record | None:
        return read_record(uri, name, kind) if files is None or name in files else None

    def is_there(name: str) -> bool:
        return storage.exists(storage.join(uri, name)) if files is None else name in files

    recorded, summary, outcome = read(STEPS, StepsFile), read(SUMMARY, Summary), read(OUTCOME, Outcome)
    found = ((STEPS, recorded), (SUMMARY, summary), (OUTCOME, outcome))
    problem = ", ".join(name for name, content in found if content is None and is_there(name))
    problem = f"{problem} cannot be read" if problem else ""
    summary = summary and _with_own(summary, ["artifacts"], may_read)
    outcome = outcome and _with_own(outcome, ["artifacts"], may_read)
    if recorded is None:
        if summary and outcome and (summary.verdict, summary.pushed_version) != (outcome.verdict, outcome.version):
            # Kubeflow runs the exit handler of a retry only if it failed before: the summary is the first attempt's.
            retried = summarise(summary.lineage, summary.state, [], outcome, summary.error or "")
            summary = retried.model_copy(update={"finished": summary.finished})
        problem = problem or ("" if summary else "its directory holds no record")
        if summary is None:
            started = 0.0 if storage.is_remote(uri) else Path(uri).stat().st_mtime
            lineage = Lineage(run=run, module="", module_digest="", data_uri="", started=started)
            summary = summarise(lineage, "interrupted", [], outcome)
        return RunView(run, uri, [], summary, problem, files)
    state: RunState = summary.state if summary else "interrupted"
    if recorded.finished is not None:
        state = "failed" if any(step.state == "failed" for step in recorded.steps) else "succeeded"
    elif is_alive(recorded.pid, recorded.pid_started):
        state = "running"
    steps = [_with_own(step, ["artifacts", "outputs"], may_read) for step in recorded.steps]
    steps = [_killed(step, uri) if step.state == "running" and state != "running" else step for step in steps]
    # In the order of their starts, then those that never started; the exit handler stays last.
    steps = [*sorted(steps[:-1], key=lambda step: step.started or math.inf), *steps[-1:]]
    # The exit handler wrote its summary before the runner was through: what the runner says of the end counts.
    if summary is None or summary.state != state:
        summary = with_tuning(summarise(recorded.lineage, state, steps, outcome), uri)
        summary = _with_own(summary, ["artifacts"], may_read)  # the tuner's record names some
    finished = recorded.finished or summary.finished
    if state == "interrupted":
        finished = max((step.started + (step.seconds or 0) for step in steps if step.started), default=0.0)
    summary = summary.model_copy(update={"finished": finished})
    return RunView(run, uri, steps, summary, problem, files)


def _killed(step: Step, run_uri: str) -> Step:
    """A step whose process is gone; it lived until it last wrote its log."""
    update: dict[str, Any] = {"state": "failed", "error": "interrupted: the process that ran it is gone"}
    log = None if storage.is_remote(run_uri) else storage.local_path(run_uri) / "logs" / f"{step.name}.log"
    if step.started and log and log.is_file():
        update["seconds"] = round(max(log.stat().st_mtime - step.started, 0.0), 3)
    return step.model_copy(update=update)


def _with_own(record: Record, names: Iterable[str], may_read: Callable[[str], bool] | None) -> Record:
    """A record without the URIs that may not be read; values that are no URIs go, too."""
    if may_read is None:
        return record

    def own(named: Mapping[str, Any]) -> dict[str, Any]:
        return {name: uri for name, uri in named.items() if isinstance(uri, str) and may_read(uri)}

    return record.model_copy(update={name: own(getattr(record, name)) for name in names})
