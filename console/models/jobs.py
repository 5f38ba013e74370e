"""Actions that take minutes: each a process of its own, which goes on when the console ends.

```
<home>/console/jobs/<job>/job.json      what is to be done
<home>/console/jobs/<job>/process.json  who does it
<home>/console/jobs/<job>/log.txt       what it says meanwhile
<home>/console/jobs/<job>/end.json      how it ended
```

`python -m console.models.jobs FOLDER` does one. A rollout that is killed goes on when it is started again, from the
state on its Lease; a killed training begins anew, with the steps that it finished in the cache.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, Field

from console.models.actions import Kind, Plan, from_console, training_target
from delivery.environment import Environment, open_environment
from slipway.errors import RolloutInconclusiveError, SlipwayError, StoreError
from slipway.runs.process import is_alive, start_time
from slipway.runs.record import Step
from slipway.runs.summary import read_if_there
from slipway.stores import storage
from slipway.stores.artifacts import parse_json

ENDED_BADLY = "Its process is gone before it ended: it was killed, or the machine went down."
LOG_BYTES = 20_000
KEPT = 50  # jobs of a model
REASONS = 3  # of a verdict; the run's page has all
START_SECONDS = 30  # between the order and the first sign of the process
NAME = re.compile(r"[a-z]+-[0-9a-f]{16}")

Form = TypeVar("Form", bound=BaseModel)
State = Literal["running", "succeeded", "held", "failed", "interrupted"]


class Job(BaseModel):
    """What is to be done, by whom and why."""

    kind: Kind
    model: str
    number: int | None = None
    why: str
    by: str
    environment: str | None = None
    data: str | None = Field(None, description="of a training; the module's own without it")
    asked: float = Field(default_factory=time.time)


class Process(BaseModel):
    """The process that does a job."""

    pid: int
    started: int | None = None


class End(BaseModel):
    """How a job ended, in words."""

    state: State
    said: str
    run: str = Field("", description="that was started")
    when: float = Field(default_factory=time.time)


@dataclass(frozen=True)
class JobView:
    """A job as its page shows it."""

    name: str
    job: Job
    state: State
    said: str
    run: str
    log: str


def jobs_folder(environment: Environment) -> Path:
    """Where the jobs of this machine are, of all environments."""
    return Path(environment.local.console) / "jobs"


def start(environment: Environment, plan: Plan, why: str, once: str, data: str | None = None) -> str:
    """Starts a job and returns its name; the same `once` starts it once.

    Raises:
        StoreError: another job of the model is running, or its folder cannot be made.
    """
    folders, name = jobs_folder(environment), f"{plan.kind}-{once}"
    folder = folders / name
    if folder.is_dir():
        return name
    for place, other in enumerate(list_jobs(environment, plan.model)):
        if other.state == "running":
            raise StoreError(f"{other.job.kind} of {plan.model} is running since it was asked for by {other.job.by}")
        if place >= KEPT:
            storage.delete_folder(str(folders / other.name))
    job = Job(kind=plan.kind, model=plan.model, number=plan.number, why=why, by=from_console(),
              environment=environment.name, data=data)  # fmt: skip
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return name
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}; nothing was started") from error
    storage.write_text(str(folder / "job.json"), job.model_dump_json(indent=1))
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "console.models.jobs", str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt of the console's terminal is not for it
        )  # fmt: skip
    _tell_process(folder, process.pid)
    threading.Thread(target=process.wait, daemon=True).start()  # else it would look alive after its end
    return name


def list_jobs(environment: Environment, model: str) -> list[JobView]:
    """The jobs of a model, newest first; a damaged one is left out."""
    folders = jobs_folder(environment)
    names = [path.name for path in folders.iterdir() if NAME.fullmatch(path.name)] if folders.is_dir() else []
    views = [read_if_there(partial(view_job, environment, name)) for name in names]
    found = [view for view in views if view and view.job.model == model]
    return sorted(found, key=lambda view: view.job.asked, reverse=True)


def view_job(environment: Environment, name: str) -> JobView | None:
    """A job by its name; None if there is none."""
    folder = jobs_folder(environment) / name
    if not NAME.fullmatch(name) or not (folder / "job.json").is_file():
        return None
    job = _read(folder / "job.json", Job)
    end, process = _read_if_there(folder / "end.json", End), _read_if_there(folder / "process.json", Process)
    lives = is_alive(process.pid, process.started) if process else time.time() - job.asked < START_SECONDS
    if end is None and not lives:
        end = _read_if_there(folder / "end.json", End) or End(state="interrupted", said=ENDED_BADLY)
    run = end.run if end and end.run else _text(folder / "run.txt")
    log = _text(folder / "log.txt")
    return JobView(name, job, end.state if end else "running", end.said if end else "", run, log)


def main(folder: Path) -> None:
    """Does a job to its end, which is written whatever it is."""
    _tell_process(folder, os.getpid())
    job = _read(folder / "job.json", Job)
    try:
        with _alone(folder.parent, job.model):
            end = _do(open_environment(job.environment), job, folder)
    except RolloutInconclusiveError as error:
        end = End(state="held", said=str(error))
    except SlipwayError as error:
        end = End(state="failed", said=str(error))
    except Exception as error:
        end = End(state="failed", said=f"a fault of Slipway, {type(error).__name__}: its log says more")
        storage.write_text(str(folder / "end.json"), end.model_dump_json(indent=1))
        raise
    print(end.said)
    storage.write_text(str(folder / "end.json"), end.model_dump_json(indent=1))


def _do(environment: Environment, job: Job, folder: Path) -> End:
    from delivery.rollout import open_rollout, roll_back

    if job.kind == "retrain":
        return _train(environment, job, folder)
    if job.kind == "rollback":
        roll_back(environment, job.model, print, job.why, None, job.asked, force=False, by=job.by)
        return End(state="succeeded", said=f"{job.model} was rolled back.")
    with open_rollout(environment, job.model, print, by=job.by) as rollout:
        if job.kind == "rollout":
            assert job.number is not None
            rollout.start(job.number, job.why)
            return End(state="succeeded", said=f"Version {job.number} of {job.model} is stable.")
        if job.kind == "decide":
            rollout.promote(job.why)
            return End(state="succeeded", said=f"The canary of {job.model} is stable.")
        rollout.abort(job.why)
    return End(state="succeeded", said=f"The canary of {job.model} was removed.")


def _train(environment: Environment, job: Job, folder: Path) -> End:
    """A run on this machine, or, where runs are on a cluster, the training that `slipway monitor ask` starts."""
    if environment.settings.remote_home:
        from delivery.retraining import ask_for_retraining, submit_retraining

        target = training_target(environment)
        decision = ask_for_retraining(environment, target, job.model, job.data, "hand")
        started = submit_retraining(environment, target, job.model, job.data)
        said = f"{decision.action}: {decision.reason}." + (f" Run {started.name}: {started.url}" if started else "")
        return End(state="succeeded" if started else "failed", said=said, run=started.name if started else "")
    from delivery.submission import local_request
    from delivery.targets.local import run_local
    from slipway.runs.notes import write_notes
    from slipway.runs.store import load_run

    request = local_request(environment, job.model, job.data, notify=False, started_by=job.by)
    name = request.lineage.run
    record = storage.join(environment.local.runs, name)
    print(f"run {name}")

    def tell(steps: list[Step]) -> None:
        if not (folder / "run.txt").is_file():  # the record is there since just now
            write_notes(record, note=job.why)
            storage.write_text(str(folder / "run.txt"), name)

    finished = run_local(request, environment.settings.home, tell)
    summary = load_run(environment.local.runs, name).summary
    failed = any(step.state == "failed" for step in finished.steps)
    said = f"{name} was {summary.told.text}." if summary.told else f"{name} {'failed' if failed else 'ended'}."
    if summary.pushed_version is None:
        said += "".join(f" {reason}." for reason in summary.reasons[:REASONS])
    return End(state="failed" if failed else "succeeded", said=said, run=name)


@contextmanager
def _alone(folders: Path, model: str) -> Iterator[None]:
    """One job of a model at a time on this machine; the kernel releases the lock of a killed process."""
    with (folders / f"{model}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"another job of {model} was faster, and runs; nothing was done") from None
        yield


def _tell_process(folder: Path, pid: int) -> None:
    storage.write_text(str(folder / "process.json"), Process(pid=pid, started=start_time(pid)).model_dump_json())


def _read(path: Path, form: type[Form]) -> Form:
    return parse_json(storage.read_bytes(str(path)), form, str(path), "remove its folder")


def _read_if_there(path: Path, form: type[Form]) -> Form | None:
    return _read(path, form) if path.is_file() else None


def _text(path: Path) -> str:
    """The end of a text file; empty without one."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - LOG_BYTES, 0))
        return file.read().decode(errors="replace")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
