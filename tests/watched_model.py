"""A model that is served: its version with a baseline, a log of requests, labels; and the monitor's steps over them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.compare_requests.component import compare_requests
from components.decide_retraining.component import decide_retraining
from components.resolve_window.component import resolve_window
from components.score_predictions.component import score_predictions
from slipway.evaluation.results import SliceResult
from slipway.lineage import Lineage
from slipway.monitoring.baseline import SCORE, Baseline
from slipway.monitoring.config import MonitorConfig
from slipway.monitoring.counts import Cells, Counts, choose_cells, count, place
from slipway.monitoring.decision import State
from slipway.monitoring.label_shares import count_jointly
from slipway.monitoring.result import WindowResult, read_result
from slipway.monitoring.slices import choose_slices, count_in, places_of
from slipway.monitoring.state import read_state
from slipway.runs.record import Outcome, RunContext
from slipway.stores import storage
from slipway.stores.model_store import Provenance, open_store
from tests.model_files import provenance, write_model
from tests.request_windows import write_requests
from tests.steps import of_paths

MODEL = "trips"
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CONFIG: dict[str, Any] = {
    "task": "binary",
    "label": {"column": "tip"},
    "slices": [["payment"]],
    "thresholds": [{"metric": "auc", "min": 0.6}],
}
Rows = list[dict[str, Any]]


def draw(seed: int, rows: int = 600) -> tuple[Rows, list[float], list[int]]:
    """Requests, answers and labels; the model knows something of the label."""
    rng = np.random.default_rng(seed)
    card = rng.random(rows) < 0.4
    fares = np.round(rng.gamma(2, 5, rows) * 4) / 4 + 3
    scores = np.where(card, 0.5, 0.1) + rng.random(rows) * 0.3
    labels = (rng.random(rows) < scores).astype(int)
    requests = [
        {"fare": float(fare), "payment": "Card" if paid else "Cash", "trip_hour": int(hour)}
        for fare, paid, hour in zip(fares, card, rng.integers(0, 24, rows), strict=True)
    ]
    return requests, scores.tolist(), labels.tolist()


def drifted(rows: Rows) -> Rows:
    """The same requests with fares that rose by half."""
    return [row | {"fare": row["fare"] * 1.5} for row in rows]


@dataclass
class Watched:
    """`monitoring` are keys of module.yaml, `bucket` is where the log and the windows are instead of the folder.

    The labels' file is there once labels were told.
    """

    folder: Path
    monitoring: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=lambda: dict(CONFIG))
    bucket: str = ""
    metrics_uri: str = ""

    @property
    def home(self) -> str:
        return self.bucket or str(self.folder)

    @property
    def log(self) -> str:
        return storage.join(self.home, "log")

    @property
    def labels(self) -> Path:
        return self.folder / "labels.csv"

    @property
    def windows(self) -> str:
        return storage.join(self.home, "monitoring")

    @property
    def runs(self) -> str:
        return storage.join(self.home, "runs")

    @property
    def store(self) -> str:
        return str(self.folder / "models")

    def push(self, seed: int = 1, given: Provenance | None = None) -> int:
        """Pushes a version with the baseline of its training rows."""
        requests, scores, labels = draw(1000 + seed, 6000)
        columns = {name: pa.array([row[name] for row in requests]) for name in requests[0]}
        known = choose_slices({"payment": pa.chunked_array([columns["payment"]])}, ["payment"])
        groups = places_of(known, columns)

        def counted(name: str, values: pa.Array) -> Counts:
            cells = choose_cells(values)
            count_in(groups, name, place(values, cells), cells.size)
            return count(values, cells)

        told = counted("tip", pa.array(labels))
        overall = SliceResult(examples=3000, candidate={"auc": 0.79, "log_loss": 0.5, "accuracy": 0.75})
        card = SliceResult(columns=["payment"], values=["Card"], examples=1200, candidate={"auc": 0.6})
        tipped = SliceResult(columns=["tip"], values=["1"], examples=900, candidate={"accuracy": 0.4})
        baseline = Baseline(
            rows=6000,
            features={name: counted(name, values) for name, values in columns.items()},
            answers={SCORE: counted(SCORE, pa.array(scores))},
            label="tip",
            labels=told,
            labels_by=self._labels_by(columns, pa.array(labels), told.cells),
            metrics=[overall, card, tipped],
            slices=known,
        )
        model = write_model(self.folder / f"model-{seed}", seed)
        pushed = open_store(self.store).push(model, given or provenance(MODEL), baseline.model_dump_json())
        return pushed.version.number

    @staticmethod
    def _labels_by(columns: Mapping[str, pa.Array], labels: pa.Array, cells: Cells) -> dict[str, list[list[int]]]:
        found = {}
        for name, values in columns.items():
            own = choose_cells(values)
            found[name] = count_jointly(place(values, own), own, place(labels, cells), cells)
        return found

    def ask(self, version: int | None, day: int, requests: Rows, scores: Sequence[Any], **options: Any) -> list[str]:
        options = {"seconds": 80_000.0} | options
        return write_requests(self.log, MODEL, version, FIRST + day * DAY, requests, scores, **options)

    def tell(self, ids: Sequence[str], labels: Sequence[Any]) -> None:
        """Labels of the first instances; more of them are appended."""
        is_new = not self.labels.exists()
        with self.labels.open("a", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([("request_id", "instance", "tip")] if is_new else [])
            writer.writerows((name, 0, label) for name, label in zip(ids, labels, strict=True))

    def run(self, day: int, ask: str = "", data: str | None = "x\n1\n") -> WindowResult:
        """The pipeline's steps on the window of a day; the data of the next training are gone where they are None."""
        path = self.folder / "data.csv"
        if data is None:
            path.unlink()
        else:
            path.write_text(data)
        labelled = {"labels": str(self.labels)} if self.labels.exists() else {}
        config = MonitorConfig.model_validate(self.config | {"monitoring": labelled | self.monitoring})
        text, log, windows = config.model_dump_json(exclude_none=True), self.log, self.windows
        start = f"{FIRST + day * DAY:%Y-%m-%dT%H:%M:%SZ}"
        version, start = resolve_window.python_func(MODEL, self.store, log, windows, text, start)
        place = self.folder / f"artifacts-{day}"
        place.mkdir(exist_ok=True)
        made = [str(place / name) for name in ("compared", "page", "drift", "scored", "performance", "verdict", "own")]
        of_paths(compare_requests)(MODEL, version, start, self.store, log, windows, text, *made[:3])
        of_paths(score_predictions)(made[0], self.store, log, windows, text, self.metrics_uri, *made[3:5])
        run = RunContext(uri=str(self.folder / "run"), lineage=Lineage(run="r", module=MODEL, module_digest="d",
                                                                      data_uri=str(path)))  # fmt: skip
        of_paths(decide_retraining)(
            made[3], str(path), 1, "", windows, text, ask, run.model_dump_json(), "j", "", *made[5:]
        )
        return self.result(day)

    def result(self, day: int) -> WindowResult:
        return read_result(storage.join(self.windows, MODEL, f"{FIRST + day * DAY:%Y-%m-%dT%H:%M:%SZ}"))

    def outcome(self) -> Outcome:
        return Outcome.model_validate_json((self.folder / "run" / "outcome.json").read_text())

    def state(self) -> State:
        return read_state(storage.join(self.windows, MODEL))
