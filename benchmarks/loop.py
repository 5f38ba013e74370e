"""What the loop is worth on trips of several years: beside a model never trained again, and one trained each quarter.

Time is played, and all three live through the same trips. Each starts with a model of the first year. From then on a
trip is answered by the version that was in production when it began; whether its passenger tipped well is known
`LATE` afterwards, to the monitor and to the next training, which takes all trips known by then. Requests and answers
are logged under the trip's own time, and the monitor's steps watch each window of that log once it is over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
from kfp import dsl
from numpy.typing import NDArray

from components.compare_requests.component import compare_requests
from components.decide_retraining.run import decide_window
from components.resolve_window.component import resolve_window
from components.score_predictions.component import score_predictions
from delivery.environment import Environment, open_environment
from delivery.retraining import finish_retraining
from delivery.submission import local_request
from delivery.targets.local import run_local
from serving.client.rows import input_features, read_csv
from serving.predictor import Predictor
from serving.request_log import LogOptions, RequestLog
from serving.request_log.call_rows import LoggedCall
from slipway.data.tensors import raw_inputs
from slipway.evaluation.metrics import compute_metrics
from slipway.evaluation.paired import standard_errors
from slipway.evaluation.slices import Slicing
from slipway.monitoring.result import WindowResult, read_result
from slipway.monitoring.window import last_window, parse_length
from slipway.runs.record import RunContext
from slipway.runs.store import RunView, load_run
from slipway.stores.model_store import open_store

MODULE = "taxi"
HEADER = ("model", "trainings", "refused", "AUC", "log loss", "the loop's AUC is higher by", "its log loss is lower by")
WINDOWS_HEADER = ("loop", "window", "requests", "verdict", "decision")
LATE = timedelta(days=14)
LABEL_COLUMNS = ("request_id", "tips", "fare")
# The module's own thresholds are for 14,169 trips: of a year, no hour has the 150 rows that one of them wants.
THRESHOLDS = "[{metric: auc, min: 0.9, max_drop: 0.01}, {metric: log_loss, max_drop: 0.02}]"


@dataclass(frozen=True)
class Arm:
    """How one model is kept: by a monitor with windows of a length, at the given moments, or not at all."""

    name: str
    window: str = ""
    windows_running: int = 2
    min_labels: int = 300
    trained_at: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class Period:
    """The models start at `first`, and are compared on the trips from `compared` to `end`."""

    first: datetime
    compared: datetime
    end: datetime


def _day(year: int, month: int) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


PERIOD = Period(_day(2014, 1), _day(2015, 1), _day(2016, 1))
QUARTERS = tuple(_day(year, month) for year in (2014, 2015) for month in (1, 4, 7, 10))[1:]
ARMS = (
    # The rule wants two windows running, and two quarters are half a year: so months, with the labels of a quarter.
    Arm("the loop, by 30 days", window="30d", min_labels=1000),
    Arm("the loop, by 91 days, one window running", window="91d", windows_running=1),
    Arm("trained each quarter", trained_at=QUARTERS),
    Arm("never trained again"),
)


class Trips:
    """Trips in the order of their time, as their file spells them."""

    def __init__(self, path: Path) -> None:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        self.rows = rows.iloc[np.argsort(rows["trip_start_timestamp"].astype(int), kind="stable")]
        self.times = self.rows["trip_start_timestamp"].astype(int).to_numpy()
        self.labels = (self.rows["tips"].astype(float) > 0.2 * self.rows["fare"].astype(float)).to_numpy(np.int64)

    def between(self, start: datetime | None, end: datetime) -> NDArray[np.int64]:
        """Places of the trips from `start` to just before `end`."""
        found = self.times < end.timestamp()
        return np.flatnonzero(found & (self.times >= start.timestamp()) if start else found)

    def write(self, places: NDArray[np.int64], path: Path, columns: Sequence[str] = ()) -> Path:
        """Some trips as CSV; their ids among the columns, if asked for."""
        chosen = self.rows.iloc[places].assign(request_id=[f"trip-{place}" for place in places])
        chosen.to_csv(path, index=False, columns=list(columns) or list(self.rows.columns))
        return path


@dataclass
class Life:
    """One model through the years: its scores by the trips' places, the trainings, and the windows watched."""

    arm: Arm
    trips: Trips
    home: Path
    flags: tuple[str, ...]
    scores: NDArray[np.float32] = field(init=False)
    verdicts: list[str] = field(default_factory=list)
    windows: list[WindowResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True)
        self.scores = np.full(len(self.trips.times), np.nan, np.float32)
        self._trained_until = -math.inf

    def live(self, period: Period) -> None:
        """From the first training to the end."""
        clock = period.first
        self._train(clock)
        for moment in self._moments(period):
            self._answer(clock, moment)
            if self.arm.window:
                self._watch(moment)
            else:
                self._train(moment)
            clock = moment
        self._answer(clock, period.end)

    def _moments(self, period: Period) -> Iterator[datetime]:
        if not self.arm.window:
            yield from self.arm.trained_at
            return
        length = parse_length(self.arm.window)
        moment = last_window(period.first, length).end + length
        while moment < period.end:
            yield moment
            moment += length

    def _environment(self) -> Environment:
        its = {
            "home": self.home,
            "request_log": self.home / "log",
            "thresholds": THRESHOLDS,
            "monitoring.window": self.arm.window or "1d",
            "monitoring.labels": self.home / "labels.csv",
            "monitoring.min_labels": self.arm.min_labels,
            "monitoring.retraining.windows": self.arm.windows_running,
        }
        return open_environment(None, [*(f"{key}={value}" for key, value in its.items()), *self.flags])

    def _known(self, moment: datetime) -> str:
        """The data of a training: all trips whose labels are known by then."""
        known = self.trips.between(None, moment - LATE)
        return str(self.trips.write(known, self.home / f"known-{moment:%Y%m%d}.csv"))

    def _train(self, moment: datetime) -> None:
        environment = self._environment()
        request = local_request(environment, MODULE, self._known(moment), notify=False)
        run_local(request, self.home, lambda _: None)
        self._trained(load_run(environment.local.runs, request.lineage.run), moment)

    def _trained(self, run: RunView, moment: datetime) -> None:
        failed = [f"{step.name}: {step.error}" for step in run.steps if step.state == "failed"]
        if failed:
            raise RuntimeError(f"{run.uri}: {failed}")
        self.verdicts.append(run.summary.verdict)
        if run.summary.pushed_version:
            self._trained_until = (moment - LATE).timestamp()

    def _watch(self, moment: datetime) -> None:
        """The monitor's steps on the window that is just over, and the training if they ask for one."""
        self.trips.write(self.trips.between(None, moment - LATE), self.home / "labels.csv", LABEL_COLUMNS)
        data, environment = self._known(moment), self._environment()
        given = local_request(environment, MODULE, data, notify=False, pipeline="monitoring").arguments
        own = {name: given[name] for name in ("store_uri", "log_uri", "monitoring_uri", "monitor_config")}
        start = last_window(moment, parse_length(self.arm.window)).name
        made = {
            name: kind(name=name, uri=str(self.home / name))
            for name, kind in {"comparison": dsl.Artifact, "comparison_page": dsl.HTML, "drift": dsl.Metrics,
                               "scored": dsl.Artifact, "performance": dsl.Metrics}.items()
        }  # fmt: skip
        compared, scored = list(made)[:3], list(made)[3:]
        clock = SimpleNamespace(time=moment.timestamp)
        with redirect_stdout(StringIO()), mock.patch("components.decide_retraining.run.time", clock):
            version, _ = resolve_window.python_func(module=MODULE, window_start=start, **own)
            compare_requests.python_func(
                module=MODULE, version=version, start=start, **own, **{name: made[name] for name in compared}
            )
            score_predictions.python_func(
                comparison=made["comparison"],
                metrics_uri=given["metrics_uri"],
                **own,
                **{name: made[name] for name in scored},
            )
            run = RunContext.model_validate_json(given["run"])
            decide_window(made["scored"].path, data, 1, "", own["monitoring_uri"], own["monitor_config"], "", run)
        trained = finish_retraining(environment, MODULE, data, notify=False, on_change=lambda _: None)
        if trained:
            self._trained(trained, moment)
        self.windows.append(read_result(str(self.home / "monitoring" / MODULE / start)))

    def _answer(self, start: datetime, end: datetime) -> None:
        """Answers trips with the version that is in production, and logs requests and answers."""
        places = self.trips.between(start, end)
        if not len(places):
            return
        assert self.trips.times[places[0]] > self._trained_until, "a version may only answer trips after its own"
        version = open_store(str(self.home / "models")).production(MODULE)
        assert version is not None, f"no version was pushed in {self.home}"
        model = Predictor(version.uri)
        features = input_features(model.signatures)
        rows = read_csv(self.trips.write(places, self.home / "asked.csv"), features).select([f.name for f in features])
        self.scores[places] = model.predict(raw_inputs(rows, features)).reshape(-1)
        if not self.arm.window:
            return
        with RequestLog(LogOptions(str(self.home / "log"), fields=("*",), queue_calls=len(places) + 1)) as log:
            for place, row in zip(places.tolist(), rows.to_pylist(), strict=True):
                instance = {name: value for name, value in row.items() if value is not None}
                asked = {"signature_name": "raw", "instances": [instance]}
                answered = {"predictions": [float(self.scores[place])]}
                log.offer(
                    LoggedCall(
                        request_id=f"trip-{place}",
                        protocol="rest",
                        method="predict",
                        model=MODULE,
                        version=version.number,
                        request=json.dumps(asked, default=bytes.decode).encode(),
                        response=json.dumps(answered).encode(),
                        started=float(self.trips.times[place]),
                        latency_seconds=0.0,
                    )
                )


def live_all(
    work: Path, trips: Trips, period: Period = PERIOD, arms: Sequence[Arm] = ARMS, flags: tuple[str, ...] = ()
) -> Iterator[Life]:
    """Every model through the years; the first is the loop that the others are compared with."""
    for number, arm in enumerate(arms):
        life = Life(arm, trips, work / f"life-{number}", flags)
        life.live(period)
        yield life


def compare_lives(lives: Sequence[Life], period: Period = PERIOD) -> Iterator[tuple[str, ...]]:
    """The lines of the table; see `HEADER`. Differences are paired, with 95 % intervals."""
    trips = lives[0].trips
    places = trips.between(period.compared, period.end)
    labels, whole = trips.labels[places], Slicing((), np.zeros(len(places), np.int64), [()])
    measured = [compute_metrics("binary", labels, life.scores[places], [whole])[0] for life in lives]
    for life, its in zip(lives, measured, strict=True):
        differences = []
        for metric, sign in (("auc", 1), ("log_loss", -1)):
            error = standard_errors("binary", metric, labels, lives[0].scores[places], life.scores[places], whole)[0]
            better = sign * float(measured[0][metric][0] - its[metric][0]) + 0.0  # no -0
            differences.append(f"{better:+.4f} ({better - 1.96 * error:+.4f} to {better + 1.96 * error:+.4f})")
        yield (
            life.arm.name,
            str(len(life.verdicts)),
            str(sum(verdict != "pushed" for verdict in life.verdicts)),
            f"{its['auc'][0]:.4f}",
            f"{its['log_loss'][0]:.4f}",
            *(differences if life is not lives[0] else ("", "")),
        )


def list_windows(lives: Sequence[Life]) -> Iterator[tuple[str, ...]]:
    """A line for each window that was watched; see `WINDOWS_HEADER`."""
    for life in lives:
        for one in life.windows:
            said = f"{one.decision.action}: {one.decision.reason}" if one.decision else ""
            yield life.arm.window, one.start[:10], f"{one.requests:,}", one.verdict, said
