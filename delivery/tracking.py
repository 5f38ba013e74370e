"""Writes what the tracker lacks: runs that an outage left out, and stages changed from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from delivery.environment import Environment
from slipway.errors import ConfigError, TrackingError
from slipway.hints import complete
from slipway.pages.printable import printable
from slipway.runs.store import RunView, list_runs
from slipway.runs.tracking.config import Tracked
from slipway.runs.tracking.track import bounded, mirror, track, tracked_run
from slipway.runs.tracking.tracker import Tracker
from slipway.stores import storage
from slipway.stores.model_store import ModelStore, open_store


def mirror_versions(environment: Environment, store: ModelStore, model: str) -> None:
    """Writes the stages of a model's versions to the environment's tracker; failures are printed, not raised."""
    if not environment.settings.tracking.uri or not environment.settings.remote_home:
        return
    config = environment.tracked(local=False)
    if store.uri != environment.store().uri:
        return  # --store names another one
    if problem := bounded(config, lambda tracker: mirror(tracker, config, store, model)):
        told = f"the stages of {model} are not tracked: {problem}; `slipway track sync` writes them later"
        print(printable(complete(f"warning: {told}")))


def track_notes(environment: Environment, view: RunView) -> None:
    """Writes a run whose tags or note changed to the tracker; failures are printed, not raised.

    A run that has not ended is written at its end.
    """
    if environment.settings.tracking.uri and view.state != "running" and view.summary.lineage.module:
        track(view, environment.tracked(local=not storage.is_remote(view.uri)))


def sync(environment: Environment, *, dry_run: bool) -> Iterator[tuple[str, TrackingError | None]]:
    """Writes all recorded runs that the tracker does not have, and the stages of all versions.

    Yields what was written, or would be, and what went wrong with it. It ends at an outage.
    """
    if not environment.settings.tracking.uri:
        raise ConfigError("runs are not tracked: set tracking.uri in settings/<environment>.yaml")
    places = [(environment.tracked(local=True), environment.local.runs)]
    if environment.settings.remote_home:
        places.append((environment.tracked(local=False), environment.remote.runs))
    for config, runs in places:
        for view in reversed(list_runs(runs)):
            if view.state == "running" or not view.summary.lineage.module:
                continue
            missing, problem = _write(config, view, dry_run=dry_run)
            if missing or problem:
                yield f"run {view.name}", problem
            if problem and problem.outage:
                return
    if environment.settings.remote_home and not dry_run:
        yield from _mirror_all(places[-1][0])


def _write(config: Tracked, view: RunView, *, dry_run: bool) -> tuple[bool, TrackingError | None]:
    """Writes a run if the tracker lacks it; returns whether it did, and what went wrong."""
    missing = []
    experiment = config.name_of(view.summary.lineage.module)

    def write(tracker: Tracker) -> None:
        run = tracked_run(view)
        if tracker.has_run(experiment, run):
            return
        if not dry_run:
            tracker.write_run(experiment, run)
        missing.append(run.name)

    problem = bounded(config, write)
    return bool(missing), problem


def _mirror_all(config: Tracked) -> Iterator[tuple[str, TrackingError | None]]:
    store = open_store(config.store)
    for model in store.models():
        problem = bounded(config, partial(mirror, config=config, store=store, model=model))
        yield f"versions of {model}", problem
        if problem and problem.outage:
            return
