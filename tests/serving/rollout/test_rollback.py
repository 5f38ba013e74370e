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


def test_rollback_serves_the_version_before_and_quarantines_the_one_that_was(twice: World) -> None:
    first, second = twice.versions[:2]
    twice = twice
    with twice.cluster() as cluster:
        twice.rollout(cluster).rollback("customers complain")
    assert twice.stable == first
    assert (twice.store.stage("taxi", first), twice.store.stage("taxi", second)) == ("stable", "quarantined")
    with pytest.raises(StoreError, match=r"quarantined by .*says: ann\): customers complain"):
        twice.start(second)


def test_rollback_that_died_after_the_pin_moved_does_not_move_it_again(thrice: World) -> None:
    first, second, third = thrice.versions
    thrice.api.fates[f"taxi-serving@{second}"] = "quota"
    with thrice.cluster() as cluster:
        with pytest.raises(RolloutError, match=f"version {second} does not become ready.*rollout rollback taxi` again"):
            thrice.rollout(cluster).rollback("bad")
        with pytest.raises(RolloutBusyError, match=f"version {third} of taxi is reverting"):
            thrice.rollout(cluster).start(first)
        thrice.api.fates.clear()
        thrice.rollout(cluster).rollback("bad")
    assert thrice.stable == second
    assert thrice.store.stage("taxi", first) == "retired"


def test_rollback_with_nothing_to_go_back_to_changes_nothing(served: World) -> None:
    first = served.versions[0]
    before = stand(served)
    with served.cluster() as cluster:
        rollout = served.rollout(cluster)
        with pytest.raises(StoreError, match=f"nothing to roll back to.*Version {first} is stable since"):
            rollout.rollback("bad")
        assert stand(served) == before
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


def test_rollback_again_goes_further_back(thrice: World) -> None:
    with thrice.cluster() as cluster:
        for number in thrice.versions[1::-1]:
            thrice.rollout(cluster).rollback("bad", asked=time.time())
            assert thrice.stable == number
    assert list(thrice.store.stages("taxi").values()) == ["stable", "quarantined", "quarantined"]


def test_rollback_typed_before_another_had_ended_is_refused(thrice: World) -> None:
    first, second, third = thrice.versions
    typed = time.time()
    with thrice.cluster() as cluster:
        thrice.rollout(cluster).rollback("bad")
        before = stand(thrice)
        with pytest.raises(
            RolloutError, match=f"changed after .*version {second} serves.*rollback taxi --from {second}"
        ):
            thrice.rollout(cluster).rollback("bad", asked=typed)
        with pytest.raises(RolloutError, match=f"version {third} .*version {second} serves"):
            thrice.rollout(cluster).rollback("bad", leave=third, asked=typed)
        assert stand(thrice) == before
        thrice.rollout(cluster).rollback("bad", leave=second, asked=typed)
    assert thrice.stable == first


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


def test_rollback_of_two_people_at_once_loses_one_version(thrice: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with thrice.cluster() as cluster, thrice.cluster() as other:
        while_it_waits(thrice, monkeypatch, lambda: thrice.rollout(other).rollback("bad"))
        with pytest.raises(RolloutError, match=f"changed after .*version {thrice.versions[1]} serves"):
            thrice.rollout(cluster).rollback("bad")
    assert list(thrice.store.stages("taxi").values()) == ["retired", "stable", "quarantined"]


def test_rollback_after_one_in_the_store_alone_serves_that_and_goes_no_further(thrice: World) -> None:
    second = thrice.versions[1]
    thrice.store.rollback("taxi", why="p99", who="bob")
    with thrice.cluster() as cluster:
        assert thrice.rollout(cluster).rollback("bad").version == second
    assert thrice.stable == second
    assert list(thrice.store.stages("taxi").values()) == ["retired", "stable", "quarantined"]


def test_rollback_where_the_store_has_promoted_another_version_is_refused(twice: World) -> None:
    _, second, third = twice.versions
    twice.store.promote("taxi", third)
    before = stand(twice)
    with twice.cluster() as cluster:
        with pytest.raises(
            RolloutError,
            match=f"version {third} is stable in the store, and version {second} serves.*start taxi/{third}",
        ):
            twice.rollout(cluster).rollback("bad")
        assert stand(twice) == before
        assert twice.rollout(cluster).start(third).phase == "promoted"


def test_rollback_that_died_and_another_version_promoted_since_leaves_the_way_open(twice: World) -> None:
    first, _, third = twice.versions
    twice.api.fates[f"taxi-serving@{first}"] = "quota"
    with twice.cluster() as cluster:
        with pytest.raises(RolloutError, match=f"version {first} does not become ready"):
            twice.rollout(cluster).rollback("bad")
        twice.store.promote("taxi", third)
        with pytest.raises(RolloutError, match=f"version {third} is stable in the store"):
            twice.rollout(cluster).rollback("bad")
        assert twice.stable == first
        twice.api.fates.clear()
        assert twice.rollout(cluster).start(third).phase == "promoted"


def test_promote_version_that_does_not_come_up_goes_back_to_what_the_store_went_back_to(twice: World) -> None:
    first, _, third = twice.versions
    twice.servers.new_pod = Pod
    with pytest.raises(RolloutInconclusiveError):
        twice.start(third)
    twice.store.rollback("taxi", why="p99", who="bob")
    twice.api.fates[f"taxi-serving@{third}"] = "crash"
    with twice.cluster() as cluster, pytest.raises(RolledBackError, match=f"version {first} serves"):
        twice.rollout(cluster).promote("looks fine")
    assert twice.stable == first
    assert list(twice.store.stages("taxi").values()) == ["stable", "quarantined", "quarantined"]


def test_abort_of_a_promoted_version_after_the_one_before_was_quarantined_ends(held: World) -> None:
    first, second = held.versions[:2]
    held.store.promote("taxi", second, who="bob")
    held.store.quarantine("taxi", first, why="wrong data", who="bob")
    with held.cluster() as cluster:
        assert held.rollout(cluster).abort("not today").phase == "aborted"
    assert held.said[-1].endswith(f"version {first} serves")
    assert list(held.store.stages("taxi").values())[:2] == ["quarantined", "stable"]
