"""The interface of targets that run pipelines remotely: runs, and recurring runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from time import sleep
from typing import Any, Protocol

from delivery.package import Package, check_arguments
from slipway.errors import TargetError
from slipway.lineage import Lineage
from slipway.remote.retries import retrying
from slipway.runs.naming import new_run_name
from slipway.runs.record import RunContext, Step
from slipway.runs.states import State
from slipway.targets import RemoteTarget

ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})

# Longest value of a label that Kubernetes and Google Cloud both allow.
LABEL_LENGTH = 63
# The start of a SHA-256, enough to tell all apart; a run's parameter `run` has all of it.
DIGEST_LENGTH = 24

OnChange = Callable[[list[Step]], None]


@dataclass(frozen=True)
class Submission:
    """A run to be made: the pipeline, its arguments by name, and where it comes from.

    Raises:
        TargetError: the pipeline does not take these arguments.
    """

    package: Package
    arguments: dict[str, Any]
    lineage: Lineage

    def __post_init__(self) -> None:
        check_arguments(self.package, self.arguments)

    @cached_property
    def name(self) -> str:
        """Unique display name on the target. The run's own name contains the id of its job."""
        return new_run_name(self.lineage.module)


@dataclass(frozen=True)
class RemoteRun:
    """A run on a target; times are seconds since 1970.

    `id` is the target's identifier, `title` its display name in the UI, and `name` that of its record, from
    `slipway.runs.naming.name_run`.
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

    @property
    def ended(self) -> bool:
        """Whether it is over, by its state, or by its times if the state is unknown."""
        return self.state in ENDED or (self.state == "unknown" and self.finished is not None)


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
        """Of the pipeline, the arguments, the times and the place. The Git revision alone makes no difference."""
        arguments = self.submission.arguments
        run = RunContext.model_validate_json(arguments["run"])
        content = [
            self.submission.package.digest,
            arguments | {"run": run.model_dump(mode="json", exclude={"lineage": {"git_revision"}})},
            [self.cron, self.max_concurrency, self.catch_up],
            self.place,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True)
class RemoteSchedule:
    """A recurring run that Slipway owns on a target."""

    id: str
    name: str
    digest: str
    cron: str
    enabled: bool
    created: float
    url: str


def find_made(found: list[RemoteSchedule], schedule: Recurring, before: set[str]) -> RemoteSchedule | None:
    """The schedule that a request created although its response was lost; `before` has the ids from before it."""
    same = [one for one in found if (one.name, one.digest) == (schedule.name, schedule.digest)]
    return next((one for one in same if one.id not in before), None)


class Schedules(Protocol):
    """Recurring runs of a target, limited to those that Slipway owns."""

    def list(self) -> list[RemoteSchedule]:
        """Schedules of one environment, oldest first."""

    def create(self, schedule: Recurring) -> None:
        """Creates a schedule, disabled if the target supports that: `delivery.schedules` enables it."""

    def replace(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Updates `old` to `schedule`, in place or by creating another one."""

    def enable(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Enables a schedule."""

    def delete(self, old: RemoteSchedule) -> None:
        """Deletes a schedule but not its runs; a missing one is no error."""


class Target(Protocol):
    """A platform that runs pipelines. Methods raise `TargetError` if it refuses or does not respond."""

    @property
    def name(self) -> RemoteTarget:
        """Its name for `--target`."""

    @property
    def schedules(self) -> Schedules:
        """Its recurring runs."""

    def submit(self, submission: Submission) -> RemoteRun:
        """Uploads the pipeline if it is missing, and starts the run, once."""

    def show(self, run: str) -> RemoteRun:
        """A run by its id, name or title, with its steps."""

    def list(self, limit: int) -> list[RemoteRun]:
        """Slipway's newest runs, newest first, without steps."""

    def logs(self, run: str, step: str | None) -> Iterator[str]:
        """Lines of the log of one step, or of all steps in turn."""

    def cancel(self, run: str) -> RemoteRun:
        """Requests the cancellation of a run."""

    def page(self, run_id: str) -> str:
        """URL of a run in the UI; sends no request."""


def newest_run(target: Target) -> RemoteRun:
    """The newest run of Slipway's on a target.

    Raises:
        TargetError: there is none.
    """
    found = target.list(1)
    if not found:
        raise TargetError(f"{target.name} has no runs of Slipway's; `slipway submit` makes one")
    return found[0]


def wait(target: Target, run: str, on_change: OnChange, *, poll_seconds: float = 5.0) -> RemoteRun:
    """Follows a run until it ends; the caller checks the final state.

    Args:
        target: Where it runs.
        run: Its id.
        on_change: Called with all steps after each poll.
        poll_seconds: Between two polls.
    """
    while True:
        found = target.show(run)
        on_change(found.steps)
        if found.ended:
            return found
        sleep(poll_seconds)


def send(request: Callable[[], Any], is_transient: Callable[[BaseException], bool], already: Callable[[], Any]) -> Any:
    """Sends a request, again while it fails for a reason that may pass.

    Args:
        request: Sends it once.
        is_transient: Whether an error of it may be gone the next time.
        already: Looks up, before another attempt, what the failed one may have made after all: None if nothing.
    """
    attempts = itertools.count()

    def attempt() -> Any:
        found = already() if next(attempts) else None
        return request() if found is None else found

    return retrying(is_transient)(attempt)


def labels_of(submission: Submission, environment: str) -> dict[str, str]:
    """The lineage of a run as labels, whose values are limited to 63 letters of a small alphabet.

    The digest of the data is missing: the first step of the run computes it, and the record of the run has it.
    """
    lineage = submission.lineage
    return {
        "managed-by": "slipway",
        "environment": label_value(environment),
        "module": label_value(lineage.module),
        "module-digest": lineage.module_digest[:DIGEST_LENGTH],
        "image-digest": lineage.image.rpartition("sha256:")[2][:DIGEST_LENGTH],
        "git-revision": label_value(lineage.git_revision),
        "pipeline-digest": submission.package.digest[:DIGEST_LENGTH],
    }


def label_value(text: str) -> str:
    """Text as the value of a label: in lower case, with `-` for all but letters, digits, `_` and `-`."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:LABEL_LENGTH].strip("-_")
