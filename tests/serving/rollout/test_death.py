"""Processes that die in the middle of a rollout, and processes that meet."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slipway.errors import RolloutBusyError, RolloutError
from tests.fakes.kubernetes.world import NAMESPACE, PROJECT, World


@contextmanager
def process(world: World, number: int, **policy: Any) -> Iterator[subprocess.Popen[str]]:
    asked = {
        "namespace": NAMESPACE,
        "store": str(world.store.uri),
        "objects": world.objects,
        "policy": world.policy.model_dump() | policy,
        "version": number,
    }
    command = [sys.executable, "-m", "tests.serving.rollout.rolling_out", json.dumps(asked)]
    running = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def wait_for(running: subprocess.Popen[str], text: str) -> None:
    assert running.stdout is not None
    for line in running.stdout:
        if text in line:
            return
    raise AssertionError(f"the process ended without saying {text!r}")


def test_start_after_a_kill_between_canary_and_promotion_goes_on(world: World) -> None:
    first, second, third = world.versions
    world.start(first)
    with process(world, second, traffic_seconds=60, min_requests=1_000_000) as running:
        wait_for(running, "comparing taxi-serving-canary")
        running.kill()
    world.expire_lease()
    assert world.stable == first
    assert world.store.stage("taxi", second) == "canary"
    with pytest.raises(RolloutBusyError, match=f"version {second} of taxi is canary since .*end that first"):
        world.start(third)
    world.start(second)
    assert any("has the lease; waiting for a sign of life" in line for line in world.said)
    assert any(f"going on with version {second}: canary since" in line for line in world.said)
    assert world.stable == second
    assert world.store.stage("taxi", second) == "stable"
    assert world.deployment("taxi-serving-canary") is None


def test_start_after_a_kill_during_the_promotion_does_not_test_again(world: World) -> None:
    first, second = world.versions[:2]
    world.start(first)
    world.api.fates[f"taxi-serving@{second}"] = "stall"
    with process(world, second, ready_seconds=60) as running:
        wait_for(running, "promoting version")
        while world.stable != second:
            assert running.poll() is None
        running.kill()
    world.expire_lease()
    assert world.store.stage("taxi", second) == "canary"
    world.api.fates.clear()
    world.said.clear()
    world.start(second)
    assert world.store.stage("taxi", second) == "stable"
    assert not any("comparing" in line for line in world.said)


def test_start_while_another_is_at_work_is_refused_with_its_name(world: World) -> None:
    first, second = world.versions[:2]
    world.start(first)
    with process(world, second, traffic_seconds=60, min_requests=1_000_000) as running:
        wait_for(running, "comparing taxi-serving-canary")
        with pytest.raises(RolloutBusyError, match=r"rollout since 20.*Z; wait"):
            world.start(second)
        assert running.poll() is None
        with world.cluster() as cluster:
            status = world.rollout(cluster).status()
    assert status["holder"]
    assert status["rollout"]["phase"] == "canary"


def test_start_that_lost_its_lease_changes_nothing_more(world: World) -> None:
    first, second = world.versions[:2]
    world.start(first)
    writes: list[int] = []

    def steal() -> None:
        lease = world.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
        if lease["spec"]["holderIdentity"] != "thief":
            lease["spec"]["holderIdentity"] = "thief"
            world.api.objects.replace(lease, "thief")
            writes.append(len(world.api.objects.writes))

    world.on_pause = steal
    world.api.fates["taxi-serving-canary"] = "stall"
    with pytest.raises(RolloutError, match=r"lost its lease: .*held by thief. Nothing was changed since"):
        world.start(second)
    assert world.deployment("taxi-serving-canary") is not None
    kinds = {kind for kind, _, _ in world.api.objects.writes[writes[0] :]}
    assert kinds <= {"Pod", "ReplicaSet"}  # the controller's
