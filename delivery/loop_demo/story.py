"""The loop, played once: train, serve, ask, watch, retrain, canary, promote; and a bad model, which is refused.

A week of the demo passes in seconds. Its trips are made up, and all else is real: the pipelines, the gate, the model
store, the servers, the requests over REST, their log, and the comparison of canary and stable. The log has the trips'
times, and each run of the monitor is told its window.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from delivery.environment import Environment
from delivery.launch import RunRequest
from delivery.loop_demo.servers import Server, TripLog, ask_about, serving
from delivery.loop_demo.weeks import LENGTH, Week, make_week
from delivery.retraining import finish_retraining, monitor_request
from delivery.submission import local_request
from delivery.targets.local import run_local
from serving.rollout.canary_check import ask_golden, read_requests
from serving.rollout.traffic import Judgement, Reading, compare
from serving.server.model_sources import OneVersion, StoreModels
from slipway.errors import DeliveryError, RolloutError
from slipway.module_kit.loader import load_function
from slipway.monitoring.baseline import Baseline
from slipway.monitoring.config import GIVEN, MonitorConfig
from slipway.monitoring.history import watched_window
from slipway.monitoring.performance import score_labels
from slipway.monitoring.result import Performance, WindowResult
from slipway.monitoring.window import window_of
from slipway.pages.numbers import format_number
from slipway.runs.store import RunView, load_run
from slipway.stores import storage
from slipway.stores.model_store import Version
from slipway.stores.module_store import publish_module

MODEL = "taxi"
TRAINED_FROM, TRAINED_ROWS = datetime(2015, 1, 1, tzinfo=UTC), 8_000
WATCHED_FROM = datetime(2015, 12, 10, tzinfo=UTC)  # windows of seven days begin on Thursdays
MOST_WEEKS = 6  # of one version, until it has to be replaced
# A small network and rare slices, so that a training takes seconds; and bounds that fit the years of the demo.
OVERRIDES: dict[str, Any] = {
    "tracking.uri": "",
    "serving.min_requests": 400,
    "training.epochs": 6,
    "hyperparameters.members": 1,
    "ingestion.window": 1,
    "slices": [["payment_type"]],
    "thresholds": [{"metric": "auc", "min": 0.8, "max_drop": 0.01}, {"metric": "log_loss", "max_drop": 0.02}],
}
CRIPPLED: dict[str, Any] = {"hyperparameters.learning_rate": 1e-6, "training.epochs": 1}

Kind = Literal["train", "serve", "window", "canary", "refuse"]


@dataclass(frozen=True)
class Event:
    """Something that happened, on a day of the demo."""

    day: datetime
    kind: Kind
    text: str


@dataclass(frozen=True)
class Canary:
    """The week in which two versions answered."""

    stable: Reading
    canary: Reading
    judged: Judgement
    golden: float
    week: Week


@dataclass
class Story:
    """What happened.

    Attributes:
        events: In order.
        windows: Those that were watched, in order, a week each.
        scored: Each version in each week whose labels came, and the start of that week.
        trainings: The first, the one that was decided, and the bad one.
        canary: Of the second version.
    """

    events: list[Event] = field(default_factory=list)
    windows: list[WindowResult] = field(default_factory=list)
    scored: list[tuple[str, Performance]] = field(default_factory=list)
    trainings: list[RunView] = field(default_factory=list)
    canary: Canary | None = None


@dataclass
class Demo:
    """One play.

    Attributes:
        settings: Of which environment; the demo overrides some.
        home: An empty folder for all of its state.
        say: Gets each event.
    """

    settings: Environment
    home: Path
    say: Callable[[Event], None]
    story: Story = field(default_factory=Story)
    today: datetime = WATCHED_FROM

    def __post_init__(self) -> None:
        monitoring = {"window": f"{LENGTH.days}d", "labels": f"{self.home}/labels/*.csv"}
        self._overrides = {"home": str(self.home), **OVERRIDES, "monitoring": monitoring}
        self._environment = self.settings.override(self._overrides.items())
        self._store = self._environment.store(self._environment.local.store)
        self._data = str(self.home / "data" / "trips-{SPAN}.csv")
        published = publish_module(self._environment.module(MODEL)[0], self._environment.local.modules)
        self._sample = load_function(published.uri, "sample", "write_sample")

    def play(self) -> Story:
        """Plays the loop to its end.

        Raises:
            DeliveryError: a run failed, or ended otherwise than the demo is about.
            RolloutError: the canary was not judged to be as good as stable.
        """
        for folder in ("data", "labels", "trips"):
            (self.home / folder).mkdir(parents=True)
        first = self._train_first()
        with (
            TripLog(self.home / "requests") as log,
            serving(MODEL, StoreModels(self._store, [MODEL], self.home / "serving"), log) as stable,
        ):
            self._tell("serve", f"version {first.number} is served at {stable.address}, with the request log")
            week = self._watch_until_retrained(log, stable)
            second = self._pushed(self.story.trainings[-1])
            week = self._canary(log, stable, second, week)
            week = self._live_a_week(log, [stable], week)
            self._train_badly()
            week = self._live_a_week(log, [stable], week)
            stable.wait_for(second.number)
            self._tell("serve", f"version {second.number} still serves; the bad model never did")
        self._learn(week)
        self._score_weeks()
        return self.story

    def _train_first(self) -> Version:
        days = (WATCHED_FROM - TRAINED_FROM).days
        path = self.home / "data" / f"trips-{TRAINED_FROM:%Y%m%d}.csv"
        self._write_sample(path, rows=TRAINED_ROWS, first=f"{TRAINED_FROM:%Y-%m-%d}", days=days)
        view = self._train(self._environment)
        version = self._pushed(view)
        self._store.promote(MODEL, version.number, why="the first version")
        self._tell("train", f"version {version.number} is trained on {TRAINED_FROM:%Y}: {_quality(view)}")
        return version

    def _watch_until_retrained(self, log: TripLog, stable: Server) -> Week:
        """Weeks of the first version, until the monitor decides; then the training that it asked for."""
        week: Week | None = None
        for _ in range(MOST_WEEKS):
            week = self._live_a_week(log, [stable], week)
            if self.story.windows[-1].verdict == "retrained":
                break
        assert week
        view = finish_retraining(self._environment, MODEL, self._data, notify=False, on_change=lambda steps: None)
        if view is None:
            raise DeliveryError(f"the monitor asked for no training in {MOST_WEEKS} weeks; see {self.home}/monitoring")
        self.story.trainings.append(view)
        version = self._pushed(view)
        said = f"version {version.number} is trained on newer trips, and passed the gate: {_quality(view)}"
        self._tell("train", said)
        return week

    def _canary(self, log: TripLog, stable: Server, version: Version, before: Week) -> Week:
        """A week in which the new version answers every second request; then it is promoted."""
        self._store.mark_canary(MODEL, version.number)
        policy = self._environment.settings.serving
        with serving(MODEL, OneVersion(MODEL, Path(version.uri), version.number), log) as canary:
            self._tell("canary", f"version {version.number} gets every second request, at {canary.address}")
            golden = ask_golden(version, read_requests(version), canary.ask)
            if not golden <= policy.golden_tolerance:
                raise RolloutError(f"version {version.number} answers by {golden:.3g} otherwise than in training")
            was = [server.read() for server in (stable, canary)]
            week = self._ask(log, [stable, canary])
            usual, new = (server.read().since(old) for server, old in zip((stable, canary), was, strict=True))
        judged = compare(new, usual, policy)
        self.story.canary = Canary(usual, new, judged, golden, week)
        if judged.verdict != "passed":
            raise RolloutError(f"the canary {version.number} is {judged.verdict}: {'; '.join(judged.reasons)}")
        self._store.promote(MODEL, version.number, why="; ".join(judged.reasons))
        stable.wait_for(version.number)
        self._tell("canary", f"version {version.number} {judged.verdict} beside stable, is promoted, and serves")
        self._watch(week, before)
        return week

    def _train_badly(self) -> None:
        """A model that learned next to nothing, through the same pipeline and gate."""
        view = self._train(self._environment.override({**self._overrides, **CRIPPLED}.items()))
        if view.summary.pushed_version:
            raise DeliveryError(f"the gate let a bad model pass: run {view.name}")
        self._tell("refuse", f"a model with a crippled learning rate is refused by the gate: {view.summary.reasons[0]}")

    def _live_a_week(self, log: TripLog, servers: list[Server], before: Week | None) -> Week:
        week = self._ask(log, servers)
        self._watch(week, before)
        return week

    def _ask(self, log: TripLog, servers: list[Server]) -> Week:
        """The requests of the week that begins today, at the end of which it is a week later."""
        week = make_week(self._write_sample, self.home / "trips", self.today)
        log.expect(week.asked)
        ask_about(week.asked, servers)
        log.wait()
        self.today += LENGTH
        return week

    def _watch(self, week: Week, before: Week | None) -> None:
        """The monitor's run on a week, when the labels of the week before have come."""
        told = self._learn(before) if before else 0
        log = str(self.home / "requests")
        request = monitor_request(self._environment, MODEL, self._data, log, window=week.window, ask="", notify=False)
        self._finished(request)
        window = watched_window(storage.join(self._environment.local.monitoring, MODEL), week.window)
        self.story.windows.append(window)
        asked = " and ".join(f"{many:,} of version {version}" for version, many in window.versions.items())
        late = f"; {told:,} labels of the week before came" if told else ""
        why = f": {window.decision.reason}" if window.decision else ""
        self._tell("window", f"requests: {asked}{late}; the window is {window.verdict}{why}")

    def _learn(self, week: Week) -> int:
        """Lets the labels of a week come, and its trips with them; answers how many labels came."""
        return week.become_known(self.home / "labels", self.home / "data")

    def _score_weeks(self) -> None:
        """The versions week by week, now that all labels are there: the windows had those that had come."""
        config = MonitorConfig.model_validate(self._environment.module(MODEL)[1].model_dump(include=GIVEN))
        alone = config.monitoring.model_copy(update={"label_windows": 1})
        config = config.model_copy(update={"monitoring": alone})
        for one in self.story.windows:
            week = window_of(one.start, alone.window)
            for version in map(int, one.versions):
                baseline = Baseline.model_validate_json(self._store.baseline(self._store.version(MODEL, version)))
                own = one.model_copy(update={"version": version})
                result = score_labels(own, week, str(self.home / "requests"), baseline, config, None)
                self.story.scored.append((one.start, result.performance[0]))

    def _train(self, environment: Environment) -> RunView:
        view = self._finished(local_request(environment, MODEL, self._data, notify=False))
        self.story.trainings.append(view)
        return view

    def _finished(self, request: RunRequest) -> RunView:
        run_local(request, self.home, lambda steps: None)
        view = load_run(self._environment.local.runs, request.lineage.run)
        if view.state != "succeeded":
            raise DeliveryError(f"run {view.name} failed at {view.summary.failed_step}: {view.summary.error}")
        return view

    def _pushed(self, view: RunView) -> Version:
        if view.summary.pushed_version is None:
            raise DeliveryError(f"run {view.name} pushed nothing: {'; '.join(view.summary.reasons)}")
        return self._store.version(MODEL, view.summary.pushed_version)

    def _tell(self, kind: Kind, text: str) -> None:
        self.story.events.append(Event(self.today, kind, text))
        self.say(self.story.events[-1])

    def _write_sample(self, path: Path, **options: Any) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # it says that its trips are made up; so does the demo
            self._sample(path, **options)


def _quality(view: RunView) -> str:
    found = view.summary.metrics
    return f"auc {format_number(found['auc'])}, log loss {format_number(found['log_loss'])}"
