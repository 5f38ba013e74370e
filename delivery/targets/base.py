"""The interface of targets that run pipelines remotely: runs, and recurring runs."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from math import inf
from pathlib import Path
from time import sleep
from typing import Any

from delivery.package import Package, check_arguments
from slipway.errors import ConfigError, TargetError
from slipway.lineage import Lineage
from slipway.platforms.starter import PreparedRun
from slipway.runs.naming import name_by_key, name_run, new_run_name
from slipway.runs.record import RunContext, Step
from slipway.runs.states import State
from slipway.targets import RemoteTarget

# Longest value of a label that Kubernetes and Google Cloud both allow.
LABEL_LENGTH = 63
# The start of a SHA-256, enough to tell all apart; a run's parameter `run` has all of it.
DIGEST_LENGTH = 24

OnChange = Callable[[list[Step]], None]


@dataclass(frozen=True)
class Submission:
    """A run to be made: the pipeline, the values of its fields, and where it comes from.

    With a `key` its name is always the same, by which one that was started before is found.

    Raises:
        TargetError: the pipeline does not take these arguments.
    """

    package: Package
    arguments: dict[str, Any]
    lineage: Lineage
    key: str = ""

    def __post_init__(self) -> None:
        check_arguments(self.package, self.arguments)

    @cached_property
    def name(self) -> str:
        """Unique display name on the target, by which UIs filter. The run's own name contains the id of its job."""
        if self.key:
            return name_by_key(self.lineage.module, self.key)
        return f"{new_run_name(self.lineage.module)}-{label_value(self.lineage.git_revision)[:7]}"

    def digest(self, *place: Any) -> str:
        """Of the pipeline, the arguments and the place. The Git revision alone makes no difference."""
        spec = json.dumps(self.package.spec, sort_keys=True)
        content = [spec.replace(self.lineage.git_revision, ""), self.arguments, *place]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGEST_LENGTH]

    def labels(self, environment: str) -> dict[str, str]:
        """Its lineage as labels, whose values are limited to 63 letters of a small alphabet.

        The digest of the data is missing: the first step of the run computes it, and the record of the run has it.
        """
        images = {"image-digest": self.lineage.image, "gpu-image-digest": self.lineage.gpu_image}
        return owner(environment) | {
            "module": label_value(self.lineage.module),
            "module-digest": self.lineage.module_digest[:DIGEST_LENGTH],
            **{name: image.rpartition("sha256:")[2][:DIGEST_LENGTH] for name, image in images.items() if image},
            "git-revision": label_value(self.lineage.git_revision),
            "pipeline-digest": self.package.digest[:DIGEST_LENGTH],
        }


@dataclass(frozen=True)
class RemoteRun:
    """A run on a target; times are seconds since 1970.

    `id` is the target's identifier, `title` its display name in the UI, and `name` that of its record, from
    `slipway.runs.naming.name_run`. `context` is what its own steps know of it; a list may lack it.
    """

    id: str
    name: str
    state: State
    url: str
    created: float = 0.0
    finished: float | None = None
    error: str = ""
    title: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    context: RunContext | None = None

    @property
    def ended(self) -> bool:
        """Whether it is over, by its state, or by its times if the state is unknown."""
        if self.state == "unknown":
            return self.finished is not None
        return self.state not in ("pending", "running")


@dataclass(frozen=True)
class Recurring:
    """A schedule as the settings define it for a target.

    `place` holds settings of the target: service account, network and so on. `digest` covers everything that requires
    an update of the schedule.
    """

    name: str
    cron: str
    max_concurrency: int
    catch_up: bool
    submission: Submission
    place: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of the pipeline, the arguments, the times and the place."""
        return self.submission.digest([self.cron, self.max_concurrency, self.catch_up], self.place)


@dataclass(frozen=True)
class RemoteSchedule:
    """A recurring run that Slipway owns on a target.

    `stale` is the reason why the target must make it anew although the settings are the same. `archived` is the name
    of its experiment, if that is archived.
    """

    id: str
    name: str
    digest: str
    cron: str
    enabled: bool
    created: float
    url: str
    stale: str = ""
    archived: str = ""


class Schedules(ABC):
    """Recurring runs of a target, limited to those that Slipway owns in one environment."""

    def list(self) -> list[RemoteSchedule]:
        """All of them, oldest first."""
        return sorted(self._all(), key=lambda schedule: (schedule.created, schedule.id))

    def create(self, schedule: Recurring) -> None:
        """Creates a schedule, disabled if the target supports that: `delivery.schedules` enables it."""
        before = {one.id for one in self.list()}

        def made() -> RemoteSchedule | None:
            """The schedule that a request created although its response was lost."""
            found = [one for one in self.list() if (one.name, one.digest) == (schedule.name, schedule.digest)]
            return next((one for one in found if one.id not in before), None)

        self._create(schedule, made)

    @abstractmethod
    def replace(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Updates `old` to `schedule`, in place or by creating another one."""

    @abstractmethod
    def enable(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Enables a schedule."""

    @abstractmethod
    def delete(self, old: RemoteSchedule) -> None:
        """Deletes a schedule but not its runs; a missing one is no error."""

    @abstractmethod
    def _all(self) -> Iterator[RemoteSchedule]: ...

    @abstractmethod
    def _create(self, schedule: Recurring, already: Callable[[], Any]) -> None: ...


class Target(ABC):
    """A platform that runs pipelines. Methods raise `TargetError` if it refuses or does not respond."""

    name: RemoteTarget
    schedules: Schedules

    @abstractmethod
    def submit(self, submission: Submission) -> RemoteRun:
        """Uploads the pipeline if it is missing, and starts the run, once."""

    @abstractmethod
    def prepare(self, submission: Submission, by: str) -> PreparedRun:
        """Uploads the pipeline if it is missing; the request by which a step of another pipeline starts the run."""

    @abstractmethod
    def list(self, limit: int) -> list[RemoteRun]:
        """Slipway's newest runs, newest first, without steps."""

    @abstractmethod
    def page(self, run_id: str) -> str:
        """URL of a run in the UI; sends no request."""

    def find(self, run: str) -> RemoteRun | None:
        """A run by its id, name or title, without steps; None if there is none."""
        job = self._find(run)
        return None if job is None else self._run(job)

    def find_by_key(self, module: str, key: str) -> RemoteRun | None:
        """The training that a monitor asked for, the oldest if several have its name; None if there is none."""
        return self.find(name_by_key(module, key))

    def show(self, run: str) -> RemoteRun:
        """A run by its id, name or title, with the steps that it has come to, in the order of their starts."""
        job = self._get(run)
        return replace(self._run(job), steps=[step for step, _ in self._started(job)], context=self._context(job))

    def cancel(self, run: str) -> RemoteRun:
        """Requests the cancellation of a run.

        Raises:
            TargetError: it has ended.
        """
        job = self._get(run)
        found = self._run(job)
        if found.ended:
            raise TargetError(f"{found.name} has ended already: {found.state}")
        self._cancel(job)
        return self.show(found.id)

    def logs(self, run: str, step: str | None) -> Iterator[str]:
        """Lines of the log of one step, or of all steps in turn."""
        job = self._get(run)
        found = {one.name: (one, task) for one, task in self._started(job)}
        if step is not None and step not in found:
            raise TargetError(f"{job.display_name} has no step {step!r} yet; it has {', '.join(found) or 'none'}")
        for name, (one, task) in found.items():
            if step in (None, name):
                yield from (line if step else f"{name}: {line}" for line in self._lines(job, one, task))

    def _lines(self, job: Any, step: Step, task: Any) -> Iterator[str]:
        lines = self._log(job, task)
        first = next(lines, None)
        if first is None:
            why = "came from the cache" if step.cached else f"is {step.state}"
            first = f"(no log: the step {why}" + (f": {step.error})" if step.error else ")")
        yield first
        yield from lines

    def _get(self, run: str) -> Any:
        job = self._find(run)
        if job is None:
            raise TargetError(
                f"there is no run {run!r} in {self._place}; `slipway runs list --target {self.name}` lists them"
            )
        return job

    def _started(self, job: Any) -> Iterator[tuple[Step, Any]]:
        yield from sorted(self._steps(job), key=lambda found: found[0].started or inf)

    # What differs by platform; a job and a task are objects of its client.

    _place: str  # where runs are looked for

    @abstractmethod
    def _find(self, run: str) -> Any: ...

    @abstractmethod
    def _run(self, job: Any) -> RemoteRun: ...

    @abstractmethod
    def _context(self, job: Any) -> RunContext | None: ...

    @abstractmethod
    def _cancel(self, job: Any) -> None: ...  # that is being cancelled, perhaps; both platforms refuse it then

    @abstractmethod
    def _steps(self, job: Any) -> Iterator[tuple[Step, Any]]: ...  # with the platform's own object for each

    @abstractmethod
    def _log(self, job: Any, task: Any) -> Iterator[str]: ...


def context_of(
    spec: Mapping[str, Any], given: Mapping[str, Any], job: str, created: datetime | None
) -> RunContext | None:
    """The run's context by its pipeline's spec and the fields that it was given; None for a run of another program."""
    try:
        package = Package(Path(), dict(spec), "")
        fields = {**package.fields, **given}
        return name_run(package.run.model_dump_json(), job, created.isoformat() if created else "", **fields)
    except (ConfigError, KeyError):
        return None


def seconds(moment: Any) -> float | None:
    """Seconds since 1970 of a platform's time; None for 1970 itself, by which Kubeflow means "not yet"."""
    return moment.timestamp() if moment and moment.timestamp() > 0 else None


def newest_run(target: Target) -> RemoteRun:
    """The newest run of Slipway's on a target.

    Raises:
        TargetError: there is none.
    """
    found = target.list(1)
    if not found:
        command = f"`slipway submit MODULE --target {target.name}`"
        raise TargetError(f"{target.name} has no runs of Slipway's; {command} makes one")
    return found[0]


def wait(target: Target, run: str, on_change: Callable[[RemoteRun], None], *, poll_seconds: float = 5.0) -> RemoteRun:
    """Follows a run, by its id, until it ends; `on_change` is called after each poll."""
    while True:
        found = target.show(run)
        on_change(found)
        if found.ended:
            return found
        sleep(poll_seconds)


def owner(environment: str) -> dict[str, str]:
    """Labels of all that Slipway creates for an environment."""
    return {"managed-by": "slipway", "environment": label_value(environment)}


def label_value(text: str) -> str:
    """Text as the value of a label: in lower case, with `-` for all but letters, digits, `_` and `-`."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:LABEL_LENGTH].strip("-_")
