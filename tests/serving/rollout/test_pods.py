"""Whose pods, and whose conditions, a rollout is judged by: a Deployment has those of the template before as well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from serving.manifests import Object
from serving.rollout.pods import Failure, pods_of
from serving.rollout.readiness import past_of, wait_ready
from slipway.errors import RolloutInconclusiveError
from tests.fakes.kubernetes.controller import HASH, Fate
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import DIGEST, NAMESPACE, World

CANARY = "taxi-serving-canary"


@pytest.fixture
def held(served: World) -> World:
    """Version two's canary got too little traffic, and waits."""
    served.servers.new_pod = lambda: Pod(requests_each_reading=20)
    with pytest.raises(RolloutInconclusiveError):
        served.start(served.versions[1])
    return served


def until(world: World, fate: Fate) -> None:
    """Makes a canary's pods what they are to be, and the controller look away after that."""
    become(world, fate)
    world.api.fates[CANARY] = "unseen"


def become(world: World, fate: Fate) -> None:
    world.api.fates[CANARY] = fate
    for _ in range(2):  # new pods start in the first pass
        world.api.controller.look()


def fix(world: World) -> None:
    world.objects = yaml.safe_load(yaml.safe_dump(world.objects).replace(DIGEST, "sha256:" + "c" * 64))


def then(world: World, *fates: Fate) -> None:
    """What becomes of the canary's new pods, from one look at them to the next."""
    coming: Iterator[Fate] = iter(fates)

    world.on_pause = lambda: become(world, next(coming, fates[-1]))


def set_status(world: World, kind: str, name: str, **status: Any) -> None:
    live = world.api.objects.get(kind, NAMESPACE, name)
    world.api.objects.set_status(kind, NAMESPACE, name, live["status"] | status)


def canary_of(world: World) -> Object:
    found = world.deployment(CANARY)
    assert found is not None
    return found


def wait(world: World, seconds: float = 0.3, *, changed: bool = True) -> Failure | None:
    """What is said of the canary after its overlay was fixed."""
    with world.cluster() as cluster:
        past = past_of(cluster, CANARY)
        if changed:
            live = canary_of(world)
            live["spec"]["template"]["spec"]["containers"][0]["image"] = "tensorflow/serving@sha256:" + "c" * 64
            world.api.objects.replace(live, "slipway-rollout")
        return wait_ready(cluster, CANARY, seconds, world.pause, past, world.said.append)


def abort(world: World) -> None:
    """A rollout that goes on keeps its overlay; with another one it begins anew."""
    with world.cluster() as cluster:
        world.rollout(cluster).abort("the overlay is wrong")


def test_start_fixed_canary_is_not_judged_by_the_crashed_pod_that_it_replaces(held: World) -> None:
    second = held.versions[1]
    until(held, "crash")
    abort(held)
    fix(held)
    held.servers.new_pod = lambda: Pod(requests_each_reading=100)
    then(held, "stall", "stall", "ready")
    held.start(second)
    assert (held.stable, held.store.stage("taxi", second)) == (second, "stable")


def test_start_fixed_canary_that_crashes_again_is_quarantined(held: World) -> None:
    second = held.versions[1]
    until(held, "crash")
    abort(held)
    fix(held)
    then(held, "stall", "crash")
    with pytest.raises(Exception, match="CrashLoopBackOff after 2 restarts"):
        held.start(second)
    assert held.store.stage("taxi", second) == "quarantined"


def test_wait_ready_crashes_of_the_same_pod_count_from_the_change_on(held: World) -> None:
    """What was fixed need not be in the template: an account, a ConfigMap's content, a node."""
    until(held, "crash")
    failure = wait(held, changed=False)
    assert failure is not None
    assert "not ready after" in failure.reason

    (pod,) = [one for one in held.api.objects.list("Pod") if one["metadata"]["name"].startswith(CANARY)]

    def restart() -> None:
        statuses = [one | {"restartCount": 3} for one in pod["status"]["containerStatuses"]]
        set_status(held, "Pod", pod["metadata"]["name"], containerStatuses=statuses)

    held.on_pause = restart
    failure = wait(held, 5, changed=False)
    assert failure is not None
    assert "after 3 restarts" in failure.reason


@pytest.mark.parametrize("fate", ["deadline", "quota"])
def test_wait_ready_condition_of_the_template_before_does_not_count(held: World, fate: Fate) -> None:
    """A controller that only scales (deployment_controller.go, isScalingEvent) takes old conditions to the new one."""
    if fate == "quota":
        held.api.objects.edit("Deployment", NAMESPACE, CANARY, "kubectl", replicas=2)
    until(held, fate)
    old = canary_of(held)["status"]

    def scale_only() -> None:
        set_status(held, "Deployment", CANARY, observedGeneration=canary_of(held)["metadata"]["generation"],
                   updatedReplicas=0)  # fmt: skip

    held.on_pause = scale_only
    failure = wait(held)
    assert failure is not None
    assert canary_of(held)["status"]["conditions"] == old["conditions"]
    assert failure.reason.startswith(f"Deployment {CANARY} is not ready after")


@pytest.mark.parametrize("fate", ["deadline", "quota"])
def test_wait_ready_old_replica_set_that_fails_after_the_change_does_not_count(held: World, fate: Fate) -> None:
    (old,) = [one for one in held.api.objects.list("ReplicaSet") if one["metadata"]["name"].startswith(CANARY)]
    name = old["metadata"]["name"]
    conditions = {
        "deadline": {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                     "message": f'ReplicaSet "{name}" has timed out progressing.'},
        "quota": {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                  "message": f'pods "{name}-x7k2p" is forbidden: exceeded quota'},
    }  # fmt: skip

    def fail() -> None:
        until(held, "stall")
        set_status(held, "Deployment", CANARY, conditions=[conditions[fate]])

    held.on_pause = fail
    failure = wait(held)
    assert failure is not None
    assert failure.reason.startswith(f"Deployment {CANARY} is not ready after")


@pytest.mark.parametrize(("fate", "why"), [("deadline", "ProgressDeadlineExceeded"), ("quota", "FailedCreate")])
def test_wait_ready_condition_of_its_own_replica_set_counts_at_once(held: World, fate: Fate, why: str) -> None:
    held.api.fates[CANARY] = fate
    failure = wait(held, 20)
    assert failure is not None
    assert why in failure.reason
    assert not failure.blames_model


def test_wait_ready_condition_that_stands_since_before_is_told_when_time_is_over(held: World) -> None:
    until(held, "deadline")
    failure = wait(held, changed=False)
    assert failure is not None
    assert "has timed out progressing" in failure.reason


def test_pods_of_leaves_out_those_of_a_deployment_that_was_deleted(held: World) -> None:
    """The same template gives the same hash, and the garbage collector takes its time."""
    held.api.controller.stop()
    live = canary_of(held)
    with held.cluster() as cluster:
        (own,) = pods_of(cluster, live)
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "left", "uid": "another"}
        metadata = own["metadata"] | {"name": "left", "ownerReferences": [owner]}
        held.api.objects.create({key: one for key, one in own.items() if key != "status"} | {"metadata": metadata}, "x")
        assert len(held.api.objects.list("Pod", NAMESPACE, {HASH: own["metadata"]["labels"][HASH]})) == 2
        assert [pod["metadata"]["name"] for pod in pods_of(cluster, live)] == [own["metadata"]["name"]]


def test_start_stable_pods_with_the_template_before_are_compared_with_the_canary(served: World) -> None:
    """A refresh that did not come up leaves them in service, and users meet them."""
    first = served.versions[0]
    served.api.fates["taxi-serving"] = "stall"
    live = served.deployment("taxi-serving")
    assert live is not None
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "tensorflow/serving@sha256:" + "b" * 64
    served.api.objects.replace(live, "slipway-rollout")
    served.api.controller.look()
    pods = [each for each in served.api.objects.list("Pod") if "deletionTimestamp" not in each["metadata"]]
    assert len(pods) == 2
    served.policy = served.policy.model_copy(update={"ready_seconds": 2})
    fix(served)

    def heal() -> None:
        if any(line.startswith("promoting") for line in served.said):
            served.api.fates["taxi-serving"] = "ready"

    served.on_pause = heal
    served.start(first)
    assert any(line.startswith("passed: share of errors") and "stable 0.00% of 100" in line for line in served.said)
