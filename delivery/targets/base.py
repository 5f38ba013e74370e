"""What every target that runs pipelines elsewhere offers: runs, and recurring runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from time import sleep
from typing import Any, Protocol

from delivery.package import Package
from slipway.errors import TargetError
from slipway.runs.naming import new_run_name
from slipway.runs.record import Lineage, Step
from slipway.runs.states import State
from slipway.targets import RemoteTarget

ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})

# What Kubernetes and Google Cloud both allow in a label's value, and how long it may be.
LABEL_LENGTH = 63
# The start of a SHA-256, enough to tell all apart; a run's parameter `lineage` has all of it.
DIGEST_LENGTH = 24

OnChange = Callable[[list[Step]], None]


@dataclass(frozen=True)
class Submission:
    """A run to be made: the pipeline, its arguments by name, and where it comes from."""

    package: Package
    arguments: dict[str, Any]
    lineage: Lineage

    @cached_property
    def name(self) -> str:
        """What the target lists it as; no other submission has it. The run's own name holds the id of its job."""
        return new_run_name(self.lineage.module)


@dataclass(frozen=True)
class RemoteRun:
    """A run on a target; times are seconds since 1970.

    `id` is the target's own name for it, `title` what its UI lists it as, and `name` that of its record:
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
        """Whether it is over: by its state, or by its times where nobody knows the state."""
        return self.state in ENDED or (self.state == "unknown" and self.finished is not None)


@dataclass(frozen=True)
class Recurring:
    """A schedule as it ought to be on a target.

    `place` is what the settings say of the target: service account, network and so on. `digest` covers everything
    that makes it another schedule when it changes.
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
        lineage = self.submission.lineage.model_dump(mode="json", exclude={"git_revision"})
        content = [
            self.submission.package.digest,
            self.submission.arguments | {"lineage": lineage},
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
    """What a request to make a schedule made, though its answer was lost; `before` has the ids that were there."""
    same = [one for one in found if (one.name, one.digest) == (schedule.name, schedule.digest)]
    return next((one for one in same if one.id not in before), None)


class Schedules(Protocol):
    """The recurring runs of a target. Others' are never listed, and so never touched."""

    def list(self) -> list[RemoteSchedule]:
        """All that Slipway owns for one environment, oldest first."""

    def create(self, schedule: Recurring) -> None:
        """Makes it; a target that can makes it disabled, so that `delivery.schedules` decides when it begins."""

    def replace(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Makes `old` what `schedule` says, in place or by another one beside it."""

    def enable(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Lets it start runs."""

    def delete(self, old: RemoteSchedule) -> None:
        """Removes it; one that is gone is no error. Its runs stay."""


class Target(Protocol):
    """A place that runs pipelines. Every method raises `TargetError` where it refuses or does not answer."""

    @property
    def name(self) -> RemoteTarget:
        """What `--target` calls it."""

    @property
    def schedules(self) -> Schedules:
        """Its recurring runs."""

    def submit(self, submission: Submission) -> RemoteRun:
        """Uploads what is not there yet and starts the run, once."""

    def show(self, run: str) -> RemoteRun:
        """A run by its id, its name, or what the target lists it as, with its steps."""

    def list(self, limit: int) -> list[RemoteRun]:
        """The newest runs of Slipway's, newest first, without steps."""

    def logs(self, run: str, step: str | None) -> Iterator[str]:
        """Lines of one step's log, or of all steps' one after the other."""

    def cancel(self, run: str) -> RemoteRun:
        """Asks for the run's end."""

    def page(self, run_id: str) -> str:
        """Address of a run in the UI; asks nobody."""


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
    """Follows a run to its end, which may be a failure: the caller looks at the state.

    Args:
        target: Where it runs.
        run: Its id.
        on_change: Called with all steps that the target tells of, at each look.
        poll_seconds: Between two looks.
    """
    while True:
        found = target.show(run)
        on_change(found.steps)
        if found.ended:
            return found
        sleep(poll_seconds)


def retrying(
    call: Callable[[], Any],
    is_transient: Callable[[Exception], bool],
    *,
    already: Callable[[], Any] = lambda: None,
    attempts: int = 4,
    pause_seconds: float = 1.0,
) -> Any:
    """Tries again what failed for a reason that passes, a bounded number of times.

    Args:
        call: One request.
        is_transient: Whether an error of it may be gone the next time.
        already: Asked before another attempt: what the request was to make, if the failed one made it after all.
        attempts: How many in all.
        pause_seconds: Before the second attempt; doubled for each that follows.
    """
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except Exception as error:
            if attempt == attempts or not is_transient(error):
                raise
        sleep(pause_seconds * 2 ** (attempt - 1))
        found = already()
        if found is not None:
            return found
    raise AssertionError("unreachable")


def labels_of(submission: Submission, environment: str) -> dict[str, str]:
    """Where a run comes from, as labels: 63 letters of a small alphabet each.

    The data's digest is not among them: the run's first step computes it, and its record has it.
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
    """Text as the value of a label: lower case, others than letters, digits, `_` and `-` as `-`."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:LABEL_LENGTH].strip("-_")
