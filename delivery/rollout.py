"""Rollouts of an environment's models, with the overlay of this checkout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from delivery.environment import Environment
from delivery.notifications import notify_of_rollback
from delivery.tracking import mirror_versions
from serving.manifests import require_filled_in
from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.workload import namespace_of
from slipway.errors import RolledBackError

Say = Callable[[str], None]


@contextmanager
def open_rollout(environment: Environment, model: str, say: Say, *, force: bool = False) -> Iterator[Rollout]:
    """Rollouts of one model, for as long as the block lasts; a rollback in it is notified, stages are tracked after it.

    `say` is called with each step; `force` takes over fields that were changed by hand in the cluster.
    """
    with _connected(environment, model, say, force=force) as rollout:
        try:
            yield rollout
        except RolledBackError as error:
            happened = f"version {error.version} was rolled back"
            notify_of_rollback(environment, rollout.store, model, error.version, happened, [str(error)])
            raise
        finally:
            mirror_versions(environment, rollout.store, model)


def rollout_status(environment: Environment, model: str) -> dict[str, Any]:
    """What serves, who rolls out, and the last decision."""
    with _connected(environment, model, lambda step: None) as rollout:
        return rollout.status()


@contextmanager
def _connected(environment: Environment, model: str, say: Say, *, force: bool = False) -> Iterator[Rollout]:
    serving = environment.settings.serving
    objects = environment.overlay
    require_filled_in(objects)
    with Cluster(namespace_of(objects), serving.cluster) as cluster:
        yield Rollout(cluster, environment.store(), objects, model, serving, say=say, force=force)


def roll_back(
    environment: Environment, model: str, say: Say, why: str, leave: int | None, asked: float, *, force: bool
) -> None:
    """Returns to the version that was promoted before, and notifies; see `Rollout.rollback`."""
    with open_rollout(environment, model, say, force=force) as rollout:
        state = rollout.rollback(why, leave=leave, asked=asked)
    assert state.previous is not None
    happened = f"back at version {state.version}, from version {state.previous}"
    reasons = [f"{state.who}: {reason}" for reason in state.reasons]
    notify_of_rollback(environment, rollout.store, model, state.previous, happened, reasons)


def refresh(environment: Environment, say: Say, *, force: bool = False) -> None:
    """Rolls out the overlay for all served models, each through a canary; versions do not change."""
    store = environment.store()
    for model in store.models():
        version = store.production(model)
        if version and store.stage(model, version.number) == "stable":
            with open_rollout(environment, model, say, force=force) as rollout:
                rollout.start(version.number)
