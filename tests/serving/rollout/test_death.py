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


def test_start_after_a_kill_between_canary_and_promotion_goes_on(served: World) -> None:
    first, second, third = served.versions
    with process(served, second, traffic_seconds=60, min_requests=1_000_000) as running:
        wait_for(running, "comparing taxi-serving-canary")
        running.kill()
    served.expire_lease()
    assert served.stable == first
    assert served.store.stage("taxi", second) == "canary"
    with pytest.raises(RolloutBusyError, match=f"version {second} of taxi is canary since .*end that first"):
        served.start(third)
    served.start(second)
    assert any("has the lease; waiting for a sign of life" in line for line in served.said)
    assert any(f"going on with version {second}: canary since" in line for line in served.said)
    assert served.stable == second
    assert served.store.stage("taxi", second) == "stable"
    assert served.deployment("taxi-serving-canary") is None


def test_start_after_a_kill_during_the_promotion_does_not_test_again(served: World) -> None:
    second = served.versions[1]
    served.api.fates[f"taxi-serving@{second}"] = "stall"
    with process(served, second, ready_seconds=60) as running:
        wait_for(running, "promoting version")
        while served.stable != second:
            assert running.poll() is None
        running.kill()
    served.expire_lease()
    assert served.store.stage("taxi", second) == "canary"
    served.api.fates.clear()
    served.said.clear()
    served.start(second)
    assert served.store.stage("taxi", second) == "stable"
    assert not any("comparing" in line for line in served.said)


def test_start_while_another_is_at_work_is_refused_with_its_name(served: World) -> None:
    second = served.versions[1]
    with process(served, second, traffic_seconds=60, min_requests=1_000_000) as running:
        wait_for(running, "comparing taxi-serving-canary")
        with pytest.raises(RolloutBusyError, match=r"rollout since 20.*Z; wait"):
            served.start(second)
        assert running.poll() is None
        with served.cluster() as cluster:
            status = served.rollout(cluster).status()
    assert status["holder"]
    assert status["rollout"]["phase"] == "canary"


def test_start_that_lost_its_lease_changes_nothing_more(served: World) -> None:
    second = served.versions[1]
    writes: list[int] = []

    def steal() -> None:
        lease = served.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
        if lease["spec"]["holderIdentity"] != "thief":
            lease["spec"]["holderIdentity"] = "thief"
            served.api.objects.replace(lease, "thief")
            writes.append(len(served.api.objects.writes))

    served.on_pause = steal
    served.api.fates["taxi-serving-canary"] = "stall"
    with pytest.raises(RolloutError, match=r"lost its lease: .*held by thief. Nothing was changed since"):
        served.start(second)
    assert served.deployment("taxi-serving-canary") is not None
    assert served.api.objects.writes[writes[0] :] == []
