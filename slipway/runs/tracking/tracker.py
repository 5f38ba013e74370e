"""The interface to an experiment tracker. Another tracker is one more file like mlflow.py, and a choice in track.py."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from slipway.runs.notes import Notes
from slipway.runs.record import RunState


class Point(NamedTuple):
    """One value of a metric; an undefined value is NaN."""

    name: str
    value: float
    step: int
    when: float  # seconds since 1970, UTC


@dataclass(frozen=True)
class TrackedRun:
    """A run that has ended. Times are seconds since 1970; they are the same however often the run is written.

    `given` are the tags and the note of people, who may change them after the end.
    """

    name: str
    state: RunState
    started: float
    finished: float
    parameters: dict[str, str]
    metrics: list[Point]
    tags: dict[str, str]
    files: dict[str, bytes]
    given: Notes = field(default_factory=Notes)

    @property
    def ending(self) -> str:
        """How the run ended; a retry may change it, and the run is written again."""
        return f"{self.state}, {self.tags['slipway.verdict']}"


@dataclass(frozen=True)
class TrackedVersion:
    """A version of a model with its stage: candidate, canary, production, retired or quarantined."""

    number: int
    uri: str
    run: str
    stage: str
    tags: dict[str, str]


class Tracker(ABC):
    """A server of experiments and registered models. Every call may be repeated, and raises TrackingError."""

    @abstractmethod
    def has_run(self, experiment: str, run: TrackedRun) -> bool:
        """Whether the run was written whole, with the end, the tags and the note that it has now."""

    @abstractmethod
    def write_run(self, experiment: str, run: TrackedRun) -> None:
        """Writes a run into an experiment, which is made if there is none; one that is there is completed."""

    @abstractmethod
    def write_versions(self, model: str, versions: Sequence[TrackedVersion], aliases: Mapping[str, int | None]) -> None:
        """Makes a registered model, its versions' stages and its aliases those of the model store.

        An alias without a version is removed; versions that the store has not any more are marked as deleted.
        """
