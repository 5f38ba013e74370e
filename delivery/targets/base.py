"""What every target that runs pipelines elsewhere offers: runs, and recurring runs."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

from slipway.errors import ConfigError, TargetError
from slipway.runs.record import Lineage, Step

State = Literal["pending", "running", "succeeded", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})

# What Kubernetes and Google Cloud both allow in a label's value, and how long it may be.
LABEL_LENGTH = 63
# The start of a SHA-256 that a label has room for; a run's parameter `lineage` has all of it.
DIGEST_LENGTH = 32

OnChange = Callable[[list[Step]], None]


@dataclass(frozen=True)
class Package:
    """A compiled pipeline: what `slipway compile` writes.

    `digest` is the SHA-256 of its content, however the file is laid out; it names the version on a target.
    """

    path: Path
    spec: dict[str, Any]
    digest: str

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return str(self.spec["pipelineInfo"]["name"])

    @property
    def image(self) -> str:
        """The image of its tasks."""
        executors = self.spec["deploymentSpec"]["executors"].values()
        images = {executor["container"]["image"] for executor in executors if "container" in executor}
        return str(min(images, default=""))


def read_package(path: Path) -> Package:
    """Reads a compiled pipeline.

    Raises:
        ConfigError: the file is none.
    """
    from google.protobuf.json_format import ParseDict, ParseError
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        ParseDict(documents[0], PipelineSpec(), ignore_unknown_fields=False)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ParseError, IndexError, AttributeError) as error:
        raise ConfigError(f"{path} is no compiled pipeline ({error}); `slipway compile` writes one") from error
    content = json.dumps(documents, sort_keys=True, separators=(",", ":"))
    return Package(path, documents[0], hashlib.sha256(content.encode()).hexdigest())


@dataclass(frozen=True)
class Submission:
    """A run to be made: the pipeline, its arguments by name, and where it comes from."""

    package: Package
    arguments: dict[str, Any]
    lineage: Lineage

    @property
    def name(self) -> str:
        """The run's name, which no other run has."""
        return self.lineage.run


@dataclass(frozen=True)
class RemoteRun:
    """A run on a target; `id` is the target's own name for it, times are seconds since 1970."""

    id: str
    name: str
    state: State
    url: str
    created: float = 0.0
    finished: float | None = None
    error: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True)
class Recurring:
    """A schedule as it ought to be on a target. `digest` covers all that a change of makes it another one."""

    name: str
    cron: str
    max_concurrency: int
    catch_up: bool
    submission: Submission

    @property
    def digest(self) -> str:
        """Of the pipeline, the arguments and the times. The Git revision alone makes no difference."""
        lineage = self.submission.lineage.model_dump(mode="json", exclude={"git_revision"})
        content = [
            self.submission.package.digest,
            self.submission.arguments | {"lineage": lineage},
            [self.cron, self.max_concurrency, self.catch_up],
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


class Schedules(Protocol):
    """The recurring runs of a target. Others' are never listed, and so never touched."""

    def list(self) -> list[RemoteSchedule]:
        """All that Slipway owns, oldest first."""

    def create(self, schedule: Recurring) -> None:
        """Makes it; a target that can makes it disabled, so that `delivery.schedules` decides when it begins."""

    def replace(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Makes `old` what `schedule` says, in place or by another one beside it."""

    def enable(self, schedule: RemoteSchedule) -> None:
        """Lets it start runs."""

    def delete(self, schedule: RemoteSchedule) -> None:
        """Removes it; one that is gone is no error. Its runs stay."""


class Target(Protocol):
    """A place that runs pipelines. Every method raises `TargetError` where it refuses or does not answer."""

    name: Literal["kubeflow", "vertex"]

    @property
    def schedules(self) -> Schedules:
        """Its recurring runs."""

    def submit(self, submission: Submission) -> RemoteRun:
        """Uploads what is not there yet and starts the run, once."""

    def show(self, run: str) -> RemoteRun:
        """A run by its id or its name, with its steps."""

    def list(self, limit: int) -> list[RemoteRun]:
        """The newest runs of Slipway's, newest first, without steps."""

    def logs(self, run: str, step: str | None) -> Iterator[str]:
        """Lines of one step's log, or of all steps' one after the other."""

    def cancel(self, run: str) -> RemoteRun:
        """Asks for the run's end."""


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
        if found.state in ENDED:
            return found
        time.sleep(poll_seconds)


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
        time.sleep(pause_seconds * 2 ** (attempt - 1))
        found = already()
        if found is not None:
            return found
    raise AssertionError("unreachable")


def labels_of(submission: Submission) -> dict[str, str]:
    """Where a run comes from, as labels: 63 letters of a small alphabet each.

    The data's digest is not among them: the run's first step computes it, and its record has it.
    """
    lineage = submission.lineage
    return {
        "managed-by": "slipway",
        "module": label_value(lineage.module),
        "module-digest": lineage.module_digest[:DIGEST_LENGTH],
        "image-digest": lineage.image.rpartition("sha256:")[2][:DIGEST_LENGTH],
        "git-revision": label_value(lineage.git_revision),
        "pipeline-digest": submission.package.digest[:DIGEST_LENGTH],
    }


def label_value(text: str) -> str:
    """Text as the value of a label: lower case, others than letters, digits, `_` and `-` as `-`."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:LABEL_LENGTH].strip("-_")


def check_arguments(package: Package, arguments: dict[str, Any]) -> None:
    """Compares arguments with what the pipeline takes, before anything is sent.

    Raises:
        TargetError: one is unknown or missing: the package is of another revision than the project.
    """
    takes = package.spec["root"].get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(arguments) - set(takes))
    missing = sorted(name for name, wants in takes.items() if name not in arguments and not wants.get("isOptional"))
    if unknown or missing:
        problem = [f"it takes no {', '.join(unknown)}"] * bool(unknown) + [f"it wants {', '.join(missing)}"] * bool(
            missing
        )
        raise TargetError(f"{package.path} is of another revision: {'; '.join(problem)}. Compile it anew")
