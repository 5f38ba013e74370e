"""The versions of one model: which are wanted, which are loaded, and what has to be done next. Starts no threads."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import grpc

from serving.protocol.errors import ServingError
from serving.protocol.protos import get_model_status_pb2
from serving.server.model_sources import Wanted
from serving.server.servable import Servable


class State(IntEnum):
    """State of a version; numbers and names are those of `ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class ServedVersion:
    """One version, and the number of requests that use it: `with manager.use("taxi") as servable`."""

    def __init__(self, number: int, path: Path) -> None:
        self.number = number
        self.path = path
        self.state = State.START
        self.problem: ServingError | None = None
        self.servable: Servable | None = None
        self.tries = 0
        self.next_try = 0.0
        self._users = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Servable:
        assert self.servable
        return self.servable

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1

    def acquire(self) -> bool:
        """Counts one more user, unless the version is being unloaded."""
        with self._lock:
            if self.state is not State.AVAILABLE:
                return False
            self._users += 1
            return True

    def withdraw(self) -> None:
        """Takes no more users."""
        with self._lock:
            self.state = State.UNLOADING

    def close_if_unused(self) -> bool:
        """Frees a withdrawn version; False while requests still use it."""
        with self._lock:
            if self._users:
                return False
        servable, self.servable = self.servable, None
        if servable:
            servable.close()
        self.state = State.END
        return True

    def status(self) -> Any:
        """A `ModelVersionStatus`; its code is OK unless the version could not be loaded."""
        return _status(self.number, self.state, self.problem if self.state is State.END else None)


def no_version(problem: ServingError) -> Any:
    """The `ModelVersionStatus` of a model that waits for its first version."""
    return _status(0, State.START, problem)


@dataclass
class ModelVersions:
    """The versions of one model: those wanted, those there, and where its labels point.

    The label "" is that of requests that name neither version nor label. `is_configured` says whether the source still
    names the model.
    """

    is_configured: bool = False
    wanted: Wanted = field(default_factory=lambda: Wanted({}))
    versions: dict[int, ServedVersion] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    def want(self, wanted: Wanted) -> None:
        """Adds versions that are newly wanted, and gives up those that are neither wanted nor loaded."""
        for number, path in wanted.versions.items():
            known = self.versions.get(number)
            # A version that could not be loaded is tried again only after it was gone.
            if known is None or (known.state is State.END and not (known.problem and number in self.wanted.versions)):
                self.versions[number] = ServedVersion(number, path)
        for number, version in self.versions.items():
            if number not in wanted.versions and version.state in (State.START, State.LOADING):
                version.state = State.END
        self.wanted = wanted

    def available(self) -> dict[int, ServedVersion]:
        """Loaded versions by number."""
        return {number: version for number, version in self.versions.items() if version.state is State.AVAILABLE}

    def to_load(self) -> list[ServedVersion]:
        """Versions whose next try to load is due, the newest first."""
        now = time.monotonic()
        waiting = (State.START, State.LOADING)
        due = [each for each in self.versions.values() if each.state in waiting and each.next_try <= now]
        return sorted(due, key=lambda version: -version.number)

    def to_unload(self) -> list[ServedVersion]:
        """Loaded versions that are neither wanted nor held by a label; none while no wanted version is loaded."""
        available = self.available()
        if self.wanted.versions and not self.wanted.versions.keys() & available.keys():
            return []
        wanted = self._wanted_labels()
        waiting = {number for label, number in self.labels.items() if number != wanted.get(label)}
        kept = self.wanted.versions.keys() | waiting
        return [version for number, version in available.items() if number not in kept]

    def by_request(self) -> dict[int | str | None, ServedVersion]:
        """Loaded versions by what a request may name: a version, a label, or nothing.

        Labels move to their wanted versions; one whose version is not loaded stays where it is as long as it can.
        """
        available = self.available()
        if not available:
            return {}
        labels = self._wanted_labels()
        for label, number in labels.items():
            if number not in available and self.labels.get(label) in available:
                labels[label] = self.labels[label]
        self.labels = labels
        found: dict[Any, ServedVersion] = {None: available[max(available)], **available}
        return found | {label or None: available[number] for label, number in labels.items() if number in available}

    def is_tried(self) -> bool:
        """Whether each wanted version was loaded, or failed at least once."""
        return all(self.versions[number].tries for number in self.wanted.versions)

    def is_settled(self) -> bool:
        """Whether a version is loaded, or none can be."""
        wanted = [self.versions[number] for number in self.wanted.versions]
        is_over = bool(self.available()) or all(version.state is State.END for version in wanted)
        return is_over and self.is_tried()

    def _wanted_labels(self) -> dict[str, int]:
        default = {} if self.wanted.default is None else {"": self.wanted.default}
        return {**self.wanted.labels, **default}


def _status(number: int, state: State, problem: ServingError | None) -> Any:
    status = get_model_status_pb2.ModelVersionStatus(version=number, state=int(state))
    status.status.error_code = (problem.code if problem else grpc.StatusCode.OK).value[0]
    status.status.error_message = problem.message if problem else ""
    return status
