"""The way back: from which version, to which, and when it is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.rollout.lease import RolloutLease
from slipway.errors import RolledBackError, RolloutBusyError, RolloutError, RolloutInconclusiveError, StoreError
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import World


def stand(world: World) -> tuple[Any, ...]:
    """Everything that a rollback may change."""
    with world.cluster() as cluster:
        status = world.rollout(cluster).status()
    return world.store._load("taxi"), world.deployment("taxi-serving"), world.deployment("taxi-serving-canary"), status


def test_rollback_serves_the_version_before_and_quarantines_the_one_that_was(world: World) -> None:
    first, second = world.versions[:2]
    world.start(first)
    world.start(second)
    with world.cluster() as cluster:
        world.rollout(cluster).rollback("customers complain")
    assert world.stable == first
    assert (world.store.stage("taxi", first), world.store.stage("taxi", second)) == ("stable", "quarantined")
    with pytest.raises(StoreError, match=r"quarantined by .*says: ann\): customers complain"):
        world.start(second)


def test_rollback_that_died_after_the_pin_moved_does_not_move_it_again(world: World) -> None:
    first, second, third = world.versions
    for number in (first, second, third):
        world.start(number)
    world.api.fates[f"taxi-serving@{second}"] = "quota"
    with world.cluster() as cluster:
        with pytest.raises(RolloutError, match=f"version {second} does not become ready.*rollout rollback taxi` again"):
            world.rollout(cluster).rollback("bad")
        with pytest.raises(RolloutBusyError, match=f"version {third} of taxi is reverting"):
            world.rollout(cluster).start(first)
        world.api.fates.clear()
        world.rollout(cluster).rollback("bad")
    assert world.stable == second
    assert world.store.stage("taxi", first) == "retired"


def test_rollback_with_nothing_to_go_back_to_changes_nothing(world: World) -> None:
    first = world.versions[0]
    world.start(first)
    before = stand(world)
    with world.cluster() as cluster:
        rollout = world.rollout(cluster)
        with pytest.raises(StoreError, match=f"nothing to roll back to.*Version {first} is stable since"):
            rollout.rollback("bad")
        assert stand(world) == before
        assert rollout.start(first).phase == "promoted"


def test_rollback_where_nothing_was_promoted_changes_nothing(world: World) -> None:
    with world.cluster() as cluster, pytest.raises(RolloutError, match="nothing serves"):
        world.rollout(cluster).rollback("bad")
    assert set(world.store.stages("taxi").values()) == {"candidate"}
    # The store lost its history; the cluster serves on.
    world.start(world.versions[1])
    Path(world.store.uri, "taxi", ".state.json").unlink()
    before = stand(world)
    with (
        world.cluster() as cluster,
        pytest.raises(
            RolloutError, match=f"nothing was ever promoted in the store, and version {world.versions[1]} serves"
        ),
    ):
        world.rollout(cluster).rollback("bad")
    assert stand(world) == before


def test_rollback_during_a_rollout_is_refused(held: World) -> None:
    with held.cluster() as cluster, pytest.raises(RolloutBusyError, match="is held since"):
        held.rollout(cluster).rollback("bad")


def test_rollback_again_goes_further_back(world: World) -> None:
    for number in world.versions:
        world.start(number)
    with world.cluster() as cluster:
        for number in world.versions[1::-1]:
            world.rollout(cluster).rollback("bad", asked=time.time())
            assert world.stable == number
    assert list(world.store.stages("taxi").values()) == ["stable", "quarantined", "quarantined"]


def test_rollback_typed_before_another_had_ended_is_refused(world: World) -> None:
    first, second, third = world.versions
    for number in world.versions:
        world.start(number)
    typed = time.time()
    with world.cluster() as cluster:
        world.rollout(cluster).rollback("bad")
        before = stand(world)
        with pytest.raises(
            RolloutError, match=f"changed after .*version {second} serves.*rollback taxi --from {second}"
        ):
            world.rollout(cluster).rollback("bad", asked=typed)
        with pytest.raises(RolloutError, match=f"version {third} .*version {second} serves"):
            world.rollout(cluster).rollback("bad", leave=third, asked=typed)
        assert stand(world) == before
        world.rollout(cluster).rollback("bad", leave=second, asked=typed)
    assert world.stable == first


def while_it_waits(world: World, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """What another process does to the cluster while the next one waits for the lease."""
    acquire = RolloutLease._acquire

    def wait(lease: RolloutLease) -> None:
        monkeypatch.undo()
        act()
        acquire(lease)

    monkeypatch.setattr(RolloutLease, "_acquire", wait)


def test_rollback_typed_during_a_canary_does_not_leave_the_version_that_it_became(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = held.versions[1]
    with held.cluster() as cluster, held.cluster() as other:
        while_it_waits(held, monkeypatch, lambda: held.rollout(other).promote("looks fine"))
        with pytest.raises(RolloutError, match=f"changed after .*version {second} serves"):
            held.rollout(cluster).rollback("bad")
    assert (held.stable, held.store.stage("taxi", second)) == (second, "stable")


def test_rollback_of_two_people_at_once_loses_one_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in world.versions:
        world.start(number)
    with world.cluster() as cluster, world.cluster() as other:
        while_it_waits(world, monkeypatch, lambda: world.rollout(other).rollback("bad"))
        with pytest.raises(RolloutError, match=f"changed after .*version {world.versions[1]} serves"):
            world.rollout(cluster).rollback("bad")
    assert list(world.store.stages("taxi").values()) == ["retired", "stable", "quarantined"]


def test_rollback_after_one_in_the_store_alone_serves_that_and_goes_no_further(world: World) -> None:
    second = world.versions[1]
    for number in world.versions:
        world.start(number)
    world.store.rollback("taxi", why="p99", who="bob")
    with world.cluster() as cluster:
        assert world.rollout(cluster).rollback("bad").version == second
    assert world.stable == second
    assert list(world.store.stages("taxi").values()) == ["retired", "stable", "quarantined"]


def test_rollback_where_the_store_has_promoted_another_version_is_refused(world: World) -> None:
    first, second, third = world.versions
    world.start(first)
    world.start(second)
    world.store.promote("taxi", third)
    before = stand(world)
    with world.cluster() as cluster:
        with pytest.raises(
            RolloutError,
            match=f"version {third} is stable in the store, and version {second} serves.*start taxi/{third}",
        ):
            world.rollout(cluster).rollback("bad")
        assert stand(world) == before
        assert world.rollout(cluster).start(third).phase == "promoted"


def test_rollback_that_died_and_another_version_promoted_since_leaves_the_way_open(world: World) -> None:
    first, second, third = world.versions
    world.start(first)
    world.start(second)
    world.api.fates[f"taxi-serving@{first}"] = "quota"
    with world.cluster() as cluster:
        with pytest.raises(RolloutError, match=f"version {first} does not become ready"):
            world.rollout(cluster).rollback("bad")
        world.store.promote("taxi", third)
        with pytest.raises(RolloutError, match=f"version {third} is stable in the store"):
            world.rollout(cluster).rollback("bad")
        assert world.stable == first
        world.api.fates.clear()
        assert world.rollout(cluster).start(third).phase == "promoted"


def test_promote_version_that_does_not_come_up_goes_back_to_what_the_store_went_back_to(world: World) -> None:
    first, second, third = world.versions
    world.start(first)
    world.start(second)
    world.servers.new_pod = Pod
    with pytest.raises(RolloutInconclusiveError):
        world.start(third)
    world.store.rollback("taxi", why="p99", who="bob")
    world.api.fates[f"taxi-serving@{third}"] = "crash"
    with world.cluster() as cluster, pytest.raises(RolledBackError, match=f"version {first} serves"):
        world.rollout(cluster).promote("looks fine")
    assert world.stable == first
    assert list(world.store.stages("taxi").values()) == ["stable", "quarantined", "quarantined"]


def test_abort_of_a_promoted_version_after_the_one_before_was_quarantined_ends(held: World) -> None:
    first, second = held.versions[:2]
    held.store.promote("taxi", second, who="bob")
    held.store.quarantine("taxi", first, why="wrong data", who="bob")
    with held.cluster() as cluster:
        assert held.rollout(cluster).abort("not today").phase == "aborted"
    assert held.said[-1].endswith(f"version {first} serves")
    assert list(held.store.stages("taxi").values())[:2] == ["quarantined", "stable"]
