"""`window.json`: what the monitor found in one window, and what it decided."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, Field

from slipway.monitoring.columns import Column
from slipway.monitoring.decision import Decision, Signal
from slipway.monitoring.label_shares import LabelShares
from slipway.monitoring.slices import SliceColumn, moved_slices
from slipway.monitoring.traffic import Traffic
from slipway.stores import storage
from slipway.stores.artifacts import parse_json

FILE = "window.json"


class Score(BaseModel):
    """One metric on the requests whose labels have come, with a 95 % interval, beside the evaluation's value."""

    slice: str
    metric: str
    value: float | None
    interval: tuple[float, float] | None = None
    evaluated: float | None = None
    labels: int
    problem: str = Field("", description="why it cannot be computed")


class Performance(BaseModel):
    """One version on the newest requests that have enough labels together, or on all that have labels."""

    version: int
    since: str = Field(description="start of the oldest window of these requests")
    until: str = Field(description="start of the newest one")
    labels: int
    missing: int = 0
    repeated: int = 0
    duplicates: int = 0
    contradictory: int = 0
    unusable: int = Field(0, description="answers that are no predictions")
    scores: list[Score] = []

    @property
    def rows(self) -> tuple[int, str, str, int]:
        """The same for the same labels of the same requests."""
        return self.version, self.since, self.until, self.labels


class WindowResult(BaseModel):
    """Everything about one window."""

    model: str
    version: int
    data: str = Field("", description="URI of the data that the version was trained on")
    start: str = Field(description="ISO 8601, UTC; it names the window")
    end: str
    requests: int = Field(description="of the version")
    versions: dict[str, int] = Field({}, description="requests of each version; `unknown` where the log has none")
    enough: bool = Field(True, description="whether there were as many requests as `min_rows`")
    traffic: Traffic | None = Field(None, description="of all versions; null in windows of older monitors")
    columns: list[Column] = []
    performance: list[Performance] = Field([], description="of each version, the served one first")
    labels: Column | None = Field(None, description="the labels that have come, beside those of training")
    slices: list[SliceColumn] = Field([], description="columns within slices that have requests enough")
    few: dict[str, int] = Field({}, description="requests of the slices that have fewer than `min_rows`")
    label_slices: list[SliceColumn] = Field([], description="the labels within slices that have labels enough")
    labels_by: list[LabelShares] = Field([], description="the labels by feature, the farthest first")
    new_features: list[str] = Field([], description="features that training did not have")
    uncounted: list[str] = Field([], description="inputs that are not compared: lists and images")
    signals: list[Signal] = []
    notes: list[str] = Field([], description="what could not be read or judged, and why")
    seconds: float = Field(0.0, description="when the window was decided, as Unix time")
    decision: Decision | None = None

    @property
    def length(self) -> timedelta:
        """Of the window; module.yaml may have had another one before."""
        return datetime.fromisoformat(self.end) - datetime.fromisoformat(self.start)

    @property
    def verdict(self) -> str:
        """One of the verdicts that `pipelines/monitoring.py` declares."""
        above = {one.cause for one in self.signals if one.enough and one.level > 1}
        if self.decision and self.decision.action == "train":
            return "retrained"
        if self.broken:
            return "broken"
        if above:
            return "worse" if "performance" in above else "drift" if above & {"drift", "slices"} else "traffic"
        return "stable" if self.enough else "not-enough"

    @property
    def moved(self) -> list[Column]:
        """Columns that drifted from training or are broken, the farthest first."""
        found = [one for one in self.columns if one.baseline.drifted or one.broken]
        return sorted(found, key=lambda one: -one.level)

    @property
    def moved_slices(self) -> list[SliceColumn]:
        """What moved within a slice only, the farthest first."""
        labels = [self.labels] if self.labels else []
        return moved_slices([*self.slices, *self.label_slices], [*self.columns, *labels])

    @property
    def broken(self) -> list[str]:
        """The broken features, in words."""
        return [f"{one.name}: {one.broken}" for one in self.columns if one.broken]


def write_result(result: WindowResult, folder: str) -> None:
    """Writes `window.json`, atomically."""
    storage.write_text(storage.join(folder, FILE), result.model_dump_json(indent=1))


def read_result(folder: str) -> WindowResult:
    """The result in a folder; StoreError if there is none, or it is damaged."""
    uri = storage.join(folder, FILE)
    return parse_json(storage.read_bytes(uri), WindowResult, uri, "delete its folder, and watch the window again")
