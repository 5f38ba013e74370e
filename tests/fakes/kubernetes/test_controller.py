"""What the controllers make of a change, one pass after the other."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.fakes.kubernetes.controller import Controller, Fate
from tests.fakes.kubernetes.objects import Objects
from tests.fakes.kubernetes.world import NAMESPACE, staging


@pytest.fixture
def objects() -> Objects:
    return Objects()


@pytest.fixture
def fates() -> dict[str, Fate]:
    return {}


@pytest.fixture
def controller(objects: Objects, fates: dict[str, Fate]) -> Controller:
    return Controller(objects, fates)


def deployment(**spec: Any) -> dict[str, Any]:
    found = copy.deepcopy(next(each for each in staging() if each["kind"] == "Deployment"))
    found["spec"] |= spec
    return found


def images(objects: Objects) -> list[str]:
    """The last letter of each living pod's image."""
    pods = [pod for pod in objects.list("Pod") if "deletionTimestamp" not in pod["metadata"]]
    return sorted(pod["spec"]["containers"][0]["image"][-1] for pod in pods)


def test_change_keeps_within_the_surge(objects: Objects, controller: Controller) -> None:
    made = objects.apply(deployment(replicas=3), "us", force=False)
    for _ in range(2):
        controller.look()
    assert images(objects) == ["a", "a", "a"]
    made = objects.get("Deployment", NAMESPACE, made["metadata"]["name"])
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "tensorflow/serving@sha256:" + "c" * 64
    objects.replace(made, "us")
    seen = []
    for _ in range(12):
        controller.look()
        seen.append(images(objects))
        pods = [pod for pod in objects.list("Pod") if "deletionTimestamp" not in pod["metadata"]]
        ready = [
            one for pod in pods for one in pod["status"]["conditions"] if one == {"type": "Ready", "status": "True"}
        ]
        assert len(ready) >= 3
    assert max(map(len, seen)) == 4
    assert seen[-1] == ["c", "c", "c"]


def test_no_replicas_are_complete_at_once(objects: Objects, controller: Controller) -> None:
    made = objects.apply(deployment(replicas=0), "us", force=False)
    controller.look()
    (progress,) = objects.get("Deployment", NAMESPACE, made["metadata"]["name"])["status"]["conditions"]
    assert (progress["status"], progress["reason"]) == ("True", "NewReplicaSetAvailable")


def test_paused_deployment_is_not_changed(objects: Objects, controller: Controller) -> None:
    made = objects.apply(deployment(replicas=1), "us", force=False)
    for _ in range(2):
        controller.look()
    made = objects.get("Deployment", NAMESPACE, made["metadata"]["name"])
    made["spec"]["paused"] = True
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "tensorflow/serving@sha256:" + "c" * 64
    changed = objects.replace(made, "us")
    controller.look()
    assert images(objects) == ["a"]
    status = objects.get("Deployment", NAMESPACE, made["metadata"]["name"])["status"]
    assert status["observedGeneration"] == changed["metadata"]["generation"]
    assert "updatedReplicas" not in status


def test_pod_that_is_deleted_lives_on_for_a_while(objects: Objects, controller: Controller) -> None:
    made = objects.apply(deployment(replicas=1), "us", force=False)
    for _ in range(2):
        controller.look()
    objects.delete("Deployment", NAMESPACE, made["metadata"]["name"])
    controller.look()
    assert images(objects) == []
    assert len(objects.list("Pod")) == 1
    for _ in range(4):
        controller.look()
    assert objects.list("Pod") == []
