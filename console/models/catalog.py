"""What the pages of models show: the model store, the newest windows, the cluster and a server of this machine.

The process remembers what it read. A store is asked whether a model changed, at most once in `FRESH_SECONDS`, and read
anew if it did; who has just changed something calls `Catalog.forget`.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from delivery.environment import Environment
from delivery.rollout import rollout_status
from slipway.errors import SlipwayError
from slipway.monitoring.history import newest_window, read_windows
from slipway.monitoring.result import WindowResult
from slipway.stores import storage
from slipway.stores.model_store import Event, Stage, State, Version, last_move
from slipway.stores.model_store.state import production, rollback_target

FRESH_SECONDS = 1.0
AGAIN_SECONDS = 60.0  # a push that was killed at its end changes no stamp
WINDOWS = 30  # in the pictures of a model
WAIT_SECONDS = 1.0  # for a cluster and a server; what comes later is on the next page
RECENT_SECONDS = 30.0  # how old an answer may be that is shown while a new one is on its way
ANSWER_BYTES = 100_000
READERS = 8  # of the page of all models
REST = "http://127.0.0.1:8501"


@dataclass(frozen=True)
class Model:
    """A model of the store at one moment; `problem` says why it cannot be read."""

    name: str
    state: State
    versions: dict[int, Version] = field(default_factory=dict)  # that can be served, oldest first
    window: WindowResult | None = None  # the newest
    problem: str = ""

    @property
    def production(self) -> Version | None:
        """The pin, or without one the newest version that may serve."""
        number = production(self.state, self.versions)
        return self.versions.get(number) if number else None

    @property
    def canary(self) -> Version | None:
        """The version that gets a part of the traffic."""
        return next((one for number, one in self.versions.items() if self.stage(number) == "canary"), None)

    @property
    def newest(self) -> Version | None:
        """The version that was pushed last."""
        return next(reversed(self.versions.values()), None)

    @property
    def move(self) -> Event | None:
        """Who moved the pin last."""
        return last_move(self.state.history)

    @property
    def rollback_target(self) -> Version | None:
        """Where a rollback goes."""
        number = rollback_target(self.state, self.versions) if self.state.pin else None
        return self.versions.get(number) if number else None

    def stage(self, number: int) -> Stage | None:
        """The stage of a version, also of a deleted one."""
        return self.state.stages.get(number)

    def events(self, number: int) -> list[Event]:
        """What was done to a version, newest first."""
        return [one for one in reversed(self.state.history) if number in (one.version, one.previous)]


@dataclass(frozen=True)
class Served:
    """An answer to what serves: `found` is of `slipway rollout status`, or a server's versions and their states."""

    found: dict[str, Any] | None = None
    problem: str = ""
    asked: float = 0.0


@dataclass
class _Remembered:
    model: Model
    stamp: str
    asked: float
    read: float
    changes: int


class Catalog:
    """The models of one environment; its methods may be called by several threads at once."""

    def __init__(self, environment: Environment) -> None:
        self._store = environment.store()
        self._monitoring = environment.state.monitoring
        self._names: tuple[float, list[str]] = (0.0, [])
        self._models: dict[str, _Remembered] = {}
        self._windows: dict[str, tuple[float, list[WindowResult]]] = {}
        self._drawn: dict[str, tuple[list[WindowResult], Any]] = {}
        self._listing = threading.Lock()
        self._reading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by model
        self._readers = ThreadPoolExecutor(READERS, "models")
        self._changes = 0  # that were made through this console

    def models(self) -> list[Model]:
        """All models, by name."""
        return list(self._readers.map(self._model, self._all_names()))

    def model(self, name: str) -> Model | None:
        """One model; None if the store has none of this name."""
        return self._model(name) if name in self._all_names() else None

    def forget(self) -> None:
        """Lets the next page ask the store; what is being read just now is old, too."""
        self._changes += 1
        self._names = (0.0, [])

    def windows(self, name: str) -> list[WindowResult]:
        """The newest windows of a model, oldest first."""
        asked, found = self._windows.get(name, (0.0, []))
        newest = self._model(name).window
        if newest and (not found or found[-1].start != newest.start or time.monotonic() - asked > AGAIN_SECONDS):
            found = read_windows(storage.join(self._monitoring, name), last=WINDOWS)
            self._windows[name] = (time.monotonic(), found)
        return found

    def drawn(self, name: str, draw: Callable[[list[WindowResult]], Any]) -> Any:
        """What `draw` makes of a model's windows, made anew when there are others."""
        windows = self.windows(name)
        known, drawing = self._drawn.get(name, (None, None))
        if known is not windows:
            drawing = draw(windows)
            self._drawn[name] = (windows, drawing)
        return drawing

    def _all_names(self) -> list[str]:
        """One lists them; who comes meanwhile has those of the last time, or waits where there are none."""
        asked, names = self._names
        if time.monotonic() - asked <= FRESH_SECONDS * (10 if names and storage.is_remote(self._store.uri) else 1):
            return names
        if not self._listing.acquire(blocking=not names):
            return names
        try:
            if self._names[0] == asked:
                self._names = (time.monotonic(), self._store.models())
            return self._names[1]
        finally:
            self._listing.release()

    def _model(self, name: str) -> Model:
        """Of several who ask for a model one reads it; nobody waits for another model."""
        with self._reading[name]:
            known, now, changes = self._models.get(name), time.monotonic(), self._changes
            if known and now - known.asked < FRESH_SECONDS and known.changes == changes:
                return known.model
            try:
                stamp = self._store.stamp(name)
                if known and stamp == known.stamp and now - known.read < AGAIN_SECONDS and not known.model.problem:
                    known.asked, known.changes = time.monotonic(), changes
                    return known.model
                state, versions = self._store.look(name, known.model.versions if known else {})
                window = newest_window(storage.join(self._monitoring, name))
                model = Model(name, state, {one.number: one for one in versions}, window)
            except SlipwayError as error:
                stamp, model = "", Model(name, State(model=name), problem=str(error))
            self._models[name] = _Remembered(model, stamp, time.monotonic(), time.monotonic(), changes)
            return model


class Serving:
    """Asks the environment's cluster, or a server of this machine, what it serves; never longer than a page waits."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._known: dict[str, Served] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    @property
    def has_cluster(self) -> bool:
        """Whether the settings name a cluster to serve in."""
        return bool(self._environment.settings.serving.overlay)

    async def of(self, model: str) -> Served:
        """The newest answer about a model; one that is on its way is waited for, for a moment.

        A page is not held up by it while there is a recent answer.
        """
        known = self._known.get(model)
        if known and time.time() - known.asked < FRESH_SECONDS:
            return known
        if model not in self._asking:
            task = asyncio.create_task(self._ask(model))
            self._asking[model] = task
            task.add_done_callback(lambda _: self._asking.pop(model))
        is_recent = known is not None and time.time() - known.asked < RECENT_SECONDS
        done, _ = await asyncio.wait([self._asking[model]], timeout=WAIT_SECONDS / 20 if is_recent else WAIT_SECONDS)
        if (done or is_recent) and model in self._known:
            return self._known[model]
        return Served(problem=f"no answer within {WAIT_SECONDS:g} s yet; load the page again")

    async def _ask(self, model: str) -> None:
        try:
            if self.has_cluster:
                [found] = await asyncio.to_thread(rollout_status, self._environment, [model], patient=False)
            else:
                found = {"versions": await _local_versions(model)}
            served = Served(found, found.get("error", ""), time.time())
        except (aiohttp.ClientError, OSError, TimeoutError):
            served = Served(None, f"No server answers on {REST}; slipway serve starts one.", time.time())
        except (SlipwayError, ValueError) as error:
            served = Served(None, str(error), time.time())
        self._known[model] = served


async def _local_versions(model: str) -> dict[str, str]:
    """Versions and their states, as `slipway serve` on this machine tells them; ValueError for another answer."""
    timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{REST}/v1/models/{model}") as answer:
        content = await answer.content.read(ANSWER_BYTES)
    try:
        statuses = json.loads(content).get("model_version_status", [])
        return {str(one["version"]): str(one["state"]) for one in statuses}
    except (AttributeError, TypeError, KeyError) as error:
        raise ValueError("the answer is not that of a model server") from error
