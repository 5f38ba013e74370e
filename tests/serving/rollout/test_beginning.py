"""What a rollout looks at before its canary, what a dead one before it left, and what is cleaned up at its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serving.rollout.lease import STATE
from slipway.errors import RolloutBusyError, RolloutError
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import NAMESPACE, World, leave


def start_once(world: World, number: int) -> None:
    """The step of a pipeline."""
    with world.cluster() as cluster:
        replace(world.rollout(cluster), once=True, by="run run-2").start(number)


def test_next_run_leaves_a_held_canary_to_people_until_somebody_deletes_it(held: World) -> None:
    _, second, third = held.versions
    with pytest.raises(RolloutBusyError, match="is held since"):
        start_once(held, third)
    assert held.deployment("taxi-serving-canary") is not None
    held.api.objects.delete("Deployment", NAMESPACE, "taxi-serving-canary")
    held.servers.new_pod = lambda: Pod(requests_each_reading=100)
    for pod in held.api.objects.list("Pod"):
        held.servers.pod(pod["metadata"]["name"]).requests_each_reading = 100
    start_once(held, third)
    assert (held.stable, held.store.stage("taxi", second)) == (third, "retired")


def test_run_of_an_older_version_leaves_the_canary_of_a_newer_one_alone(served: World) -> None:
    served.servers.new_pod = Pod
    with pytest.raises(RolloutError, match="too little traffic"):
        served.start(served.versions[2])
    leave(served, phase="canary")
    with pytest.raises(RolloutBusyError, match="is canary since"):
        start_once(served, served.versions[1])


@pytest.mark.parametrize("phase", ["promoting", "rolling-back"])
def test_next_run_first_does_what_a_dead_process_had_decided(held: World, phase: str) -> None:
    _, second, third = held.versions
    leave(held, phase=phase, reasons=["p99 doubled"], blames_model=True)
    held.servers.new_pod = lambda: Pod(requests_each_reading=100)
    for pod in held.api.objects.list("Pod"):
        held.servers.pod(pod["metadata"]["name"]).requests_each_reading = 100
    start_once(held, third)
    assert held.stable == third
    assert held.store.stage("taxi", second) == ("retired" if phase == "promoting" else "quarantined")


def test_damaged_state_is_told_with_the_command_that_removes_it(served: World) -> None:
    lease = served.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
    lease["metadata"]["annotations"][STATE] = "{"
    served.api.objects.replace(lease, "kubectl-edit")
    with pytest.raises(RolloutError, match=f"kubectl --namespace {NAMESPACE} annotate lease taxi-rollout {STATE}-$"):
        served.start(served.versions[1])


@pytest.fixture
def left_reverting(twice: World) -> World:
    """A rollback from version two whose process died before it began."""
    leave(twice, version=twice.versions[1], phase="reverting", reasons=["customers complain"])
    return twice


def test_next_run_first_ends_a_rollback_whose_process_died(left_reverting: World) -> None:
    first, second, third = left_reverting.versions
    with pytest.raises(
        RolloutBusyError, match=f"version {second} of taxi is reverting.*`slipway rollout rollback taxi`"
    ):
        left_reverting.start(third)  # a person is there to repeat it
    start_once(left_reverting, third)
    assert left_reverting.stable == third
    assert left_reverting.store.stage("taxi", second) == "quarantined"
    back = next(one for one in left_reverting.store.history("taxi") if one.action == "rollback")
    assert (back.version, back.previous, back.why) == (first, second, "customers complain")


def test_next_run_goes_on_where_a_dead_rollback_is_overtaken_by_a_promotion_in_the_store(left_reverting: World) -> None:
    first, second, third = left_reverting.versions
    left_reverting.store.promote("taxi", first, who="bob")
    start_once(left_reverting, third)
    assert (left_reverting.stable, left_reverting.store.stage("taxi", second)) == (third, "retired")


def test_next_run_whose_rollback_does_not_come_up_leaves_it_to_people(left_reverting: World) -> None:
    first, _, third = left_reverting.versions
    left_reverting.api.fates[f"taxi-serving@{first}"] = "image"
    with pytest.raises(RolloutError, match=f"version {first} does not become ready"):
        start_once(left_reverting, third)
    with pytest.raises(RolloutBusyError, match="is reverting"):
        left_reverting.start(third)


def test_stable_that_was_scaled_to_zero_refuses_a_start_and_warns_at_a_rollback(twice: World) -> None:
    first, _, third = twice.versions
    twice.api.objects.edit("Deployment", NAMESPACE, "taxi-serving", "kubectl", replicas=0)
    with pytest.raises(RolloutError, match="asks for 0 pods"):
        twice.start(third)
    with twice.cluster() as cluster:
        twice.rollout(cluster).rollback("bad")
    assert twice.stable == first
    assert any("warning: Deployment taxi-serving has 0 pods" in line for line in twice.said)


def test_cleaning_that_is_forbidden_is_said_and_fails_nothing(world: World) -> None:
    world.api.forbid("list", "configmaps")
    world.start(world.versions[0])
    assert any("warning: ConfigMaps of old versions stay" in line and "403" in line for line in world.said)


@pytest.mark.parametrize("code", [403, 404, 503])
def test_account_that_the_server_does_not_tell_is_unauthenticated_and_fails_nothing(world: World, code: int) -> None:
    world.api.fail("selfsubjectreviews", code, times=9)
    world.start(world.versions[0])
    last = world.store.history("taxi")[-1]
    assert (last.who, last.says, last.actor) == ("unauthenticated: ann", "ann", "unauthenticated: ann")
