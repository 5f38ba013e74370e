"""A process that dies between any two calls to the API server: run again, it ends where it would have ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.lease import ENDED, Phase
from slipway.errors import RolledBackError
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import NAMESPACE, World, open_world

T = TypeVar("T")
Act = Callable[[Rollout], object]


class DiedError(BaseException):
    """The process is gone."""


class MortalCluster(Cluster):
    """Makes so many calls; before the next one its process dies, and says nothing any more."""

    calls_left: int

    def _try(self, what: str, send: Callable[[], T]) -> T:
        if self.calls_left == 0:
            raise DiedError
        self.calls_left -= 1
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


def first_serves(world: World) -> None:
    world.start(world.versions[0])


def first_serves_and_second_is_bad(world: World) -> None:
    first_serves(world)
    world.servers.new_pod = lambda: Pod(predictions=[0.0, 0.0])


def first_is_bad(world: World) -> None:
    world.servers.new_pod = lambda: Pod(predictions=[0.0, 0.0])


def second_was_left(world: World, phase: Phase) -> None:
    """By a process that died; `reverting` had nothing done yet."""
    first_serves(world)
    with world.cluster() as cluster:
        rollout = world.rollout(cluster)
        if phase == "reverting":
            rollout.start(world.versions[1])
        else:
            dies(world, start_second, 30)
            world.expire_lease()
        with rollout._locked() as steps:
            state = rollout._state()
            assert state is not None
            assert state.version == world.versions[1]
            steps.lease.record(state, phase=phase)


def all_have_served(world: World) -> None:
    for number in world.versions:
        world.start(number)


def dies(world: World, act: Act, calls: int) -> bool:
    """Whether `act` needs more calls than these."""
    cluster = MortalCluster(NAMESPACE, attempts=3, timeout=(1, 1), pause=lambda _: None)
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
    ("before", "act", "stages"),
    [
        (first_serves, start_second, ("retired", "stable", "candidate")),
        (first_serves_and_second_is_bad, start_second_and_fail, ("stable", "quarantined", "candidate")),
        (all_have_served, roll_back, ("retired", "stable", "quarantined")),
        (first_is_bad, start_first_and_fail, ("quarantined", "candidate", "candidate")),
        (partial(second_was_left, phase="canary"), start_third_as_a_run, ("retired", "retired", "stable")),
        (partial(second_was_left, phase="reverting"), start_third_as_a_run, ("retired", "quarantined", "stable")),
    ],
)
def test_rollout_that_died_at_any_call_and_is_run_again_ends_well(
    before: Callable[[World], None], act: Act, stages: tuple[str, ...], tmp_path: Path
) -> None:
    calls, died = 0, True
    while died:
        with open_world(tmp_path / str(calls)) as world:
            before(world)
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
