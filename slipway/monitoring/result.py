"""`window.json`: what the monitor found in one window, and what it decided."""

from __future__ import annotations

from pydantic import BaseModel, Field

from slipway.monitoring.columns import Column
from slipway.monitoring.decision import Decision, Signal
from slipway.stores import storage

FILE = "window.json"


class Score(BaseModel):
    """One metric on the requests whose labels have come, with a 95 % interval, beside the evaluation's value."""

    slice: str
    metric: str
    value: float | None
    interval: tuple[float, float] | None = None
    evaluated: float | None = None
    labels: int


class Performance(BaseModel):
    """One version on the labels that have come, for requests of one window."""

    window: str
    version: int
    labels: int
    missing: int = 0
    repeated: int = 0
    duplicates: int = 0
    contradictory: int = 0
    unmatched: int = 0
    scores: list[Score] = []


class WindowResult(BaseModel):
    """Everything about one window."""

    model: str
    version: int
    start: str = Field(description="ISO 8601, UTC; it names the window")
    end: str
    requests: int = Field(description="of the version")
    versions: dict[str, int] = Field({}, description="requests of each version; `unknown` where the log has none")
    damaged_files: int = 0
    enough: bool = Field(True, description="whether there were as many requests as `min_rows`")
    columns: list[Column] = []
    performance: list[Performance] = []
    new_features: list[str] = Field([], description="features that training did not have")
    signals: list[Signal] = []
    decision: Decision | None = None

    @property
    def moved(self) -> list[Column]:
        """Columns that drifted from training or are broken, the farthest first."""
        found = [one for one in self.columns if one.baseline.drifted or one.broken]
        return sorted(found, key=lambda one: -one.level)

    @property
    def broken(self) -> list[str]:
        """The broken features, in words."""
        return [f"{one.name}: {one.broken}" for one in self.columns if one.broken]


def write_result(result: WindowResult, folder: str) -> None:
    """Writes `window.json`, atomically."""
    storage.write_text(storage.join(folder, FILE), result.model_dump_json(indent=1))


def read_result(folder: str) -> WindowResult:
    """The result in a folder; StoreError if there is none."""
    return WindowResult.model_validate_json(storage.read_text(storage.join(folder, FILE)))
