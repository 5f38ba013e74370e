"""Rollouts of an environment's models; a new one takes the overlay of this checkout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from delivery.environment import Environment
from delivery.notifications import notify_of_rollback
from delivery.tracking import mirror_versions
from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from slipway.errors import RolledBackError, SlipwayError, StoreError
from slipway.lineage import user_at_host
from slipway.stores.model_store import ModelStore

Say = Callable[[str], None]
HASTY: dict[str, Any] = {"attempts": 1, "timeout": (2, 3)}


@contextmanager
def open_rollout(
    environment: Environment, model: str, say: Say, *, force: bool = False, by: str = ""
) -> Iterator[Rollout]:
    """Rollouts of one model, for as long as the block lasts; a rollback in it is notified, stages are tracked after it.

    `say` is called with each step; `force` takes over fields that were changed by hand in the cluster. `by` is the name
    that whoever does it gives himself, his account on this machine by default.
    """
    with _cluster(environment) as cluster:
        rollout = _rollout(environment, cluster, model, say, force=force, by=by)
        try:
            yield rollout
        except RolledBackError as error:
            happened = f"version {error.version} was rolled back"
            notify_of_rollback(environment, rollout.store, model, error.version, happened, [str(error)])
            raise
        finally:
            mirror_versions(environment, rollout.store, model)


def rollout_status(environment: Environment, models: list[str], *, patient: bool = True) -> list[dict[str, Any]]:
    """What serves, who rolls out, and the last decision, of each model; `error` where that cannot be told.

    A cluster that does not answer is asked again for a minute, or, not `patient`, once.
    """
    found: list[dict[str, Any]] = []
    with _cluster(environment, **({} if patient else HASTY)) as cluster:
        for model in models:
            try:
                found.append(_rollout(environment, cluster, model, lambda step: None).status())
            except SlipwayError as error:
                found.append({"model": model, "error": str(error)})
    return found


def model_of(store: ModelStore, name: str | None) -> str:
    """The model of this name; without one, the only model of the store. Raises `StoreError` if none fits."""
    models = store.models()
    if name is None and len(models) == 1:
        return models[0]
    if name is None or name not in models:
        wrong = "name the model" if name is None else f"there is no model {name!r} in the store"
        raise StoreError(f"{wrong}; models: {', '.join(models) or 'none; `slipway run` pushes one'}")
    return name


def _cluster(environment: Environment, **bounds: Any) -> Cluster:
    return Cluster(environment.namespace, environment.settings.serving.cluster, **bounds)


def _rollout(
    environment: Environment, cluster: Cluster, model: str, say: Say, *, force: bool = False, by: str = ""
) -> Rollout:
    serving, store = environment.settings.serving, environment.store()
    return Rollout(
        cluster, store, lambda: environment.overlay, model, serving, say=say, force=force, by=by or user_at_host()
    )


def roll_back(
    environment: Environment, model: str, say: Say, why: str, leave: int | None, asked: float, *, force: bool,
    by: str = "",
) -> None:  # fmt: skip
    """Returns to the version that was promoted before, and notifies; see `Rollout.rollback`."""
    with open_rollout(environment, model, say, force=force, by=by) as rollout:
        state = rollout.rollback(why, leave=leave, asked=asked)
    assert state.left is not None
    happened = f"back at version {state.version}, from version {state.left}"
    reasons = [f"{state.starter}: {reason}" for reason in state.reasons]
    notify_of_rollback(environment, rollout.store, model, state.left, happened, reasons)


def refresh(environment: Environment, say: Say, *, force: bool = False) -> None:
    """Rolls out the overlay for all served models, each through a canary; versions do not change."""
    store = environment.store()
    for model in store.models():
        version = store.production(model)
        if version and store.stage(model, version.number) == "stable":
            with open_rollout(environment, model, say, force=force) as rollout:
                rollout.start(version.number)
