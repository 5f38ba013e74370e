"""The life of a model's versions: what is wanted, what is loaded, and what comes next. No threads of its own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType

import grpc

from serving.server.errors import ServingError
from serving.server.servable import Servable
from serving.server.sources import Wanted


class State(IntEnum):
    """Of a version; numbers and names are those of `ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """State of one version; `code` is `grpc.StatusCode.OK` unless it could not be loaded."""

    version: int
    state: State
    code: grpc.StatusCode
    message: str


class Lease:
    """One version, and who holds it: `with manager.use("taxi") as servable`."""

    def __init__(self, number: int, path: Path) -> None:
        self.number = number
        self.path = path
        self.state = State.START
        self.problem: ServingError | None = None
        self.servable: Servable | None = None
        self.tries = 0
        self.next_try = 0.0
        self.users = 0
        self.lock = threading.Lock()

    def __enter__(self) -> Servable:
        assert self.servable
        return self.servable

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.lock:
            self.users -= 1

    def acquire(self) -> bool:
        """Counts one more user, unless the version is going."""
        with self.lock:
            if self.state is not State.AVAILABLE:
                return False
            self.users += 1
            return True

    def status(self) -> VersionStatus:
        """What GetModelStatus tells."""
        if self.state is State.END and self.problem:
            return VersionStatus(self.number, self.state, self.problem.code, self.problem.message)
        return VersionStatus(self.number, self.state, grpc.StatusCode.OK, "")


@dataclass
class ModelVersions:
    """One model: what is wanted of it and what is there."""

    wanted: Wanted = field(default_factory=lambda: Wanted({}))
    leases: dict[int, Lease] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    def want(self, wanted: Wanted) -> None:
        """Takes new wishes: makes leases for what is new, and gives up what is not wanted and not loaded."""
        for number, path in wanted.versions.items():
            lease = self.leases.get(number)
            # A version that could not be loaded is tried again only after it was gone.
            if lease is None or (lease.state is State.END and not (lease.problem and number in self.wanted.versions)):
                self.leases[number] = Lease(number, path)
        for number, lease in self.leases.items():
            if number not in wanted.versions and lease.state in (State.START, State.LOADING):
                lease.state = State.END
        self.wanted = wanted

    def available(self) -> dict[int, Lease]:
        """Loaded versions by number."""
        return {number: lease for number, lease in self.leases.items() if lease.state is State.AVAILABLE}

    def to_load(self) -> list[Lease]:
        """Versions that are due, the newest first."""
        now = time.monotonic()
        waiting = (State.START, State.LOADING)
        due = [lease for lease in self.leases.values() if lease.state in waiting and lease.next_try <= now]
        return sorted(due, key=lambda lease: -lease.number)

    def move_labels(self) -> None:
        """Points labels at their versions, those whose version is not loaded stay as long as they can."""
        available = self.available()
        targets = self._targets()
        for label, target in targets.items():
            if target not in available and self.labels.get(label) in available:
                targets[label] = self.labels[label]
        self.labels = targets

    def to_unload(self) -> list[Lease]:
        """Loaded versions that nobody needs any longer; none while nothing else is loaded."""
        available = self.available()
        if self.wanted.versions and not self.wanted.versions.keys() & available.keys():
            return []
        targets = self._targets()
        held = {number for label, number in self.labels.items() if number != targets.get(label)}
        kept = self.wanted.versions.keys() | held
        return [lease for number, lease in available.items() if number not in kept]

    def _targets(self) -> dict[str, int]:
        """Wanted version by label; that of requests that name neither version nor label is empty."""
        targets = dict(self.wanted.labels)
        return targets if self.wanted.default is None else {**targets, "": self.wanted.default}

    def is_settled(self) -> bool:
        """Whether there is something to serve, or nothing more to hope for."""
        wanted = [self.leases[number] for number in self.wanted.versions]
        tried = all(lease.tries for lease in wanted)
        return tried and (bool(self.available()) or all(lease.state is State.END for lease in wanted))
