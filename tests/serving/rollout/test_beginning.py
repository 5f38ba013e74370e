"""What a rollout looks at before its canary, what a dead one before it left, and what is cleaned up at its end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from serving.rollout.lease import STATE
from slipway.errors import ClusterError, RolledBackError, RolloutBusyError, RolloutError
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import NAMESPACE, World


def set_state(world: World, **changes: Any) -> None:
    """Changes the recorded state, as a process leaves it that died."""
    lease = world.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
    state = json.loads(lease["metadata"]["annotations"][STATE]) | changes
    lease["metadata"]["annotations"][STATE] = json.dumps(state)
    world.api.objects.replace(lease, "OpenAPI-Generator")


def start_once(world: World, number: int) -> None:
    """The step of a pipeline."""
    with world.cluster() as cluster:
        replace(world.rollout(cluster), once=True, by="run run-2").start(number)


def test_next_run_clears_a_canary_whose_process_died(held: World) -> None:
    _, second, third = held.versions
    set_state(held, phase="canary")
    with pytest.raises(RolloutBusyError, match=f"is canary since .*`slipway rollout start taxi/{second}`"):
        held.start(third)  # a person is there to decide
    held.servers.new_pod = lambda: Pod(requests_each_reading=100)
    for pod in held.api.objects.list("Pod"):
        held.servers.pod(pod["metadata"]["name"]).requests_each_reading = 100
    start_once(held, third)
    assert held.stable == third
    assert held.store.stage("taxi", second) == "retired"
    why = next(one.why for one in held.store.history("taxi") if one.action == "retire")
    assert "ended before it was decided" in why


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
    set_state(served, phase="canary")
    with pytest.raises(RolloutBusyError, match="is canary since"):
        start_once(served, served.versions[1])


@pytest.mark.parametrize("phase", ["promoting", "rolling-back"])
def test_next_run_first_does_what_a_dead_process_had_decided(held: World, phase: str) -> None:
    _, second, third = held.versions
    set_state(held, phase=phase, reasons=["p99 doubled"], blames_model=True)
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


def left_reverting(world: World) -> None:
    """A rollback from version two whose process died before it began."""
    first, second = world.versions[:2]
    world.start(first)
    world.start(second)
    set_state(world, version=second, phase="reverting", reasons=["customers complain"])


def test_next_run_first_ends_a_rollback_whose_process_died(world: World) -> None:
    first, second, third = world.versions
    left_reverting(world)
    with pytest.raises(
        RolloutBusyError, match=f"version {second} of taxi is reverting.*`slipway rollout rollback taxi`"
    ):
        world.start(third)  # a person is there to repeat it
    start_once(world, third)
    assert world.stable == third
    assert world.store.stage("taxi", second) == "quarantined"
    back = next(one for one in world.store.history("taxi") if one.action == "rollback")
    assert (back.version, back.previous, back.why) == (first, second, "customers complain")


def test_next_run_goes_on_where_a_dead_rollback_is_overtaken_by_a_promotion_in_the_store(world: World) -> None:
    first, second, third = world.versions
    left_reverting(world)
    world.store.promote("taxi", first, who="bob")
    start_once(world, third)
    assert (world.stable, world.store.stage("taxi", second)) == (third, "retired")


def test_next_run_whose_rollback_does_not_come_up_leaves_it_to_people(world: World) -> None:
    first, _, third = world.versions
    left_reverting(world)
    world.api.fates[f"taxi-serving@{first}"] = "image"
    with pytest.raises(RolloutError, match=f"version {first} does not become ready"):
        start_once(world, third)
    with pytest.raises(RolloutBusyError, match="is reverting"):
        world.start(third)


def overlay_with(world: World, kind: str, **spec: Any) -> None:
    for each in world.objects:
        if each["kind"] == kind and each["metadata"]["name"] == "model-serving":
            each["spec"] |= spec


@pytest.mark.parametrize(
    ("kind", "spec", "fix"),
    [
        (
            "Deployment",
            {"replicas": 0},
            "kubectl --namespace slipway-staging scale deployment/taxi-serving --replicas 1",
        ),
        ("HorizontalPodAutoscaler", {"minReplicas": 0}, "set minReplicas of the HorizontalPodAutoscaler"),
    ],
)
def test_start_for_no_pods_is_refused_before_the_canary(served: World, kind: str, spec: Any, fix: str) -> None:
    overlay_with(served, kind, **spec)
    with pytest.raises(RolloutError, match=f"{kind} taxi-serving asks for 0 pods: .*{fix}"):
        served.start(served.versions[1])
    assert served.store.stage("taxi", served.versions[1]) == "candidate"
    assert served.deployment("taxi-serving-canary") is None


def test_stable_that_was_scaled_to_zero_refuses_a_start_and_warns_at_a_rollback(world: World) -> None:
    first, second, third = world.versions
    world.start(first)
    world.start(second)
    world.api.objects.edit("Deployment", NAMESPACE, "taxi-serving", "kubectl", replicas=0)
    with pytest.raises(RolloutError, match="asks for 0 pods"):
        world.start(third)
    with world.cluster() as cluster:
        world.rollout(cluster).rollback("bad")
    assert world.stable == first
    assert any("warning: Deployment taxi-serving has 0 pods" in line for line in world.said)


@pytest.mark.parametrize("act", ["start", "rollback"])
def test_paused_deployment_is_named_with_its_fix_and_nothing_is_changed(world: World, act: str) -> None:
    first, second, third = world.versions
    world.start(first)
    world.start(second)
    world.api.objects.edit("Deployment", NAMESPACE, "taxi-serving", "kubectl", paused=True)
    stages = world.store.stages("taxi")
    with world.cluster() as cluster:
        rollout = world.rollout(cluster)
        with pytest.raises(
            RolloutError,
            match=r"is paused.*kubectl --namespace slipway-staging rollout resume deployment/taxi-serving$",
        ):
            _ = rollout.start(third) if act == "start" else rollout.rollback("bad")
    assert (world.stable, world.store.stages("taxi")) == (second, stages)


def test_fields_of_stable_that_were_edited_by_hand_are_found_before_the_canary(served: World) -> None:
    served.api.objects.edit("Deployment", NAMESPACE, "taxi-serving", "kubectl-edit", progressDeadlineSeconds=5)
    with pytest.raises(ClusterError, match="--force-conflicts"):
        served.start(served.versions[1])
    assert served.deployment("taxi-serving-canary") is None
    assert served.store.stage("taxi", served.versions[1]) == "candidate"


def test_pins_that_nothing_names_any_more_are_deleted(world: World) -> None:
    first, second, third = world.versions
    for number in (first, second):
        world.start(number)
    pins = {each["metadata"]["name"] for each in world.api.objects.list("ConfigMap")}
    assert any(f"-v{first}-" in pin for pin in pins)  # its ReplicaSet is still there, for `kubectl rollout undo`
    for each in world.api.objects.list("ReplicaSet"):
        if each["metadata"]["labels"]["app.kubernetes.io/version"] == str(first):
            world.api.objects.delete("ReplicaSet", NAMESPACE, each["metadata"]["name"])
    world.start(third)
    pins = {each["metadata"]["name"] for each in world.api.objects.list("ConfigMap")}
    assert not any(f"-v{first}-" in pin for pin in pins)
    assert any(f"-v{third}-" in pin for pin in pins)


def test_cleaning_that_is_forbidden_is_said_and_fails_nothing(world: World) -> None:
    world.api.forbid("list", "configmaps")
    world.start(world.versions[0])
    assert any("warning: ConfigMaps of old versions stay" in line and "403" in line for line in world.said)


def test_first_version_that_fails_leaves_nothing_but_the_lease(world: World) -> None:
    world.servers.new_pod = lambda: Pod(predictions=[0.0, 0.0])
    with pytest.raises(RolledBackError):
        world.start(world.versions[0])
    kinds = {kind for kind, _, _ in world.api.objects.writes}
    assert {kind: world.api.objects.list(kind) for kind in kinds - {"Lease", "Pod", "ReplicaSet"}} == {
        kind: [] for kind in kinds - {"Lease", "Pod", "ReplicaSet"}
    }


@pytest.mark.parametrize("code", [403, 404, 503])
def test_account_that_the_server_does_not_tell_is_unauthenticated_and_fails_nothing(world: World, code: int) -> None:
    world.api.fail("selfsubjectreviews", code, times=9)
    world.start(world.versions[0])
    last = world.store.history("taxi")[-1]
    assert (last.who, last.says, last.actor) == ("unauthenticated: ann", "ann", "unauthenticated: ann")


def test_status_says_that_a_lease_has_expired(served: World) -> None:
    lease = served.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
    renewed = {"holderIdentity": "run run-1@pod-1", "renewTime": "2026-01-01T00:00:00.000000Z"}
    lease["spec"] |= renewed
    served.api.objects.replace(lease, "clock")
    with served.cluster() as cluster:
        assert served.rollout(cluster).status()["expired"] is True
        lease = served.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
        lease["spec"]["renewTime"] = "2999-01-01T00:00:00.000000Z"
        served.api.objects.replace(lease, "clock")
        assert served.rollout(cluster).status()["expired"] is False
