"""A process that dies between any two calls to the API server: run again, it ends where it would have ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.lease import ENDED
from slipway.errors import RolledBackError, RolloutError
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import (
    NAMESPACE,
    World,
    all_served,
    first_served,
    leave,
    open_world,
    second_held,
    two_served,
)

T = TypeVar("T")
Act = Callable[[Rollout], object]


class DiedError(BaseException):
    """The process is gone."""


class MortalCluster(Cluster):
    """Makes so many calls; before the next one its process dies, and says nothing any more."""

    calls_left: int

    def _try(self, what: str, send: Callable[[], T]) -> T:
        is_main = threading.current_thread() is threading.main_thread()
        if self.calls_left == 0:
            raise DiedError if is_main else RolloutError  # which ends the thread that renews the lease
        self.calls_left -= is_main
        return super()._try(what, send)


def start_second(rollout: Rollout) -> None:
    rollout.start(rollout.store.versions("taxi")[1].number)


def start_second_and_fail(rollout: Rollout) -> None:
    try:
        start_second(rollout)
    except RolledBackError:
        return


def start_first_and_fail(rollout: Rollout) -> None:
    try:
        rollout.start(rollout.store.versions("taxi")[0].number)
    except RolledBackError:
        return


def start_third_as_a_run(rollout: Rollout) -> None:
    replace(rollout, once=True, by="run run-3").start(rollout.store.versions("taxi")[2].number)


def roll_back(rollout: Rollout) -> None:
    rollout.rollback("bad")


def promote(rollout: Rollout) -> None:
    rollout.promote("looks fine")


def abort(rollout: Rollout) -> None:
    rollout.abort("not today")


def nothing(_: World) -> None: ...


def others_are_bad(world: World) -> None:
    world.servers.new_pod = lambda: Pod(predictions=[0.0, 0.0])


def canary_was_left(world: World) -> None:
    """Of version two, by a process that died."""
    dies(world, start_second, 30)
    world.expire_lease()
    leave(world, version=world.versions[1], phase="canary")


def rollback_was_left(world: World) -> None:
    """From version two, by a process that died before it had done anything."""
    leave(world, version=world.versions[1], phase="reverting", reasons=["bad"])


def dies(world: World, act: Act, calls: int) -> bool:
    """Whether `act` needs more calls than these."""
    cluster = MortalCluster(NAMESPACE, attempts=3, timeout=(10, 10), pause=lambda _: None)
    cluster.calls_left = calls
    try:
        with cluster:
            act(world.rollout(cluster))
    except DiedError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("after", "then", "act", "stages"),
    [
        (first_served, nothing, start_second, ("retired", "stable", "candidate")),
        (first_served, others_are_bad, start_second_and_fail, ("stable", "quarantined", "candidate")),
        (all_served, nothing, roll_back, ("retired", "stable", "quarantined")),
        (second_held, nothing, promote, ("retired", "stable", "candidate")),
        (second_held, nothing, abort, ("stable", "retired", "candidate")),
        (nothing, others_are_bad, start_first_and_fail, ("quarantined", "candidate", "candidate")),
        (first_served, canary_was_left, start_third_as_a_run, ("retired", "retired", "stable")),
        (two_served, rollback_was_left, start_third_as_a_run, ("retired", "quarantined", "stable")),
    ],
)
def test_rollout_that_died_at_any_call_and_is_run_again_ends_well(
    after: Callable[[World], None],
    then: Callable[[World], None],
    act: Act,
    stages: tuple[str, ...],
    tmp_path: Path,
) -> None:
    calls, died = 0, True
    while died:
        with open_world(tmp_path / str(calls), after=after) as world:
            then(world)
            with world.cluster() as cluster:
                rollout = world.rollout(cluster)
                stood = rollout.status()["rollout"]
                died = dies(world, act, calls)
                if world.api.objects.list("Lease"):
                    world.expire_lease()
                stands = rollout.status()["rollout"]
                # Where only the lease was left to be given back, a second rollback would be another one. The third
                # version's run ends what was left first, and is repeated.
                is_over = stands != stood and stands["phase"] in ENDED and act is not start_third_as_a_run
                if died and not is_over:
                    act(rollout)
            assert tuple(world.store.stages("taxi").values()) == stages, f"died before call {calls}"
            assert world.stable == (world.versions[stages.index("stable")] if "stable" in stages else None)
            assert world.deployment("taxi-serving-canary") is None
        calls += 1
    assert calls > 15
