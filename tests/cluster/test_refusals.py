"""What a cluster refuses, or cannot run: what is told of it, and that the first version serves on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.rollout.cluster import Cluster
from slipway.errors import (
    ClusterError,
    RolloutError,
    RolloutInconclusiveError,
)
from tests.cluster.acts import fails, hold, serves, start
from tests.cluster.places import Place, Trouble, move, wanted
from tests.fakes.kubernetes.controller import Crash


def no_image(place: Place) -> None:
    for container in wanted(place):
        container["image"] = "tensorflow/serving@sha256:" + "0" * 63 + "1"


def no_store(place: Place) -> None:
    place.policy = place.policy.model_copy(update={"models_path": "/models/none"})


def no_memory(place: Place) -> None:
    for container in wanted(place):
        container["resources"] = {"requests": {"memory": "8Mi"}, "limits": {"memory": "24Mi"}}


def no_room(place: Place) -> None:
    for container in wanted(place):
        container["resources"]["requests"]["cpu"] = "5000"


def no_config(place: Place) -> None:
    for container in wanted(place):
        container["env"].append({"name": "X", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x"}}})


def no_quota(place: Place) -> None:
    metadata = {"name": "pods", "labels": {"app.kubernetes.io/managed-by": "slipway"}}
    place.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "1"}}})


STORE_LOG = (
    "FileSystemStoragePathSource encountered a filesystem access error: Could not find base path /models/none/taxi for "
    "servable taxi with error NOT_FOUND: /models/none/taxi not found"
)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (Trouble(no_image, "image"), "ImagePullBackOff"),
        (Trouble(no_store, "waits", Crash(STORE_LOG)), "cannot read the model store"),
        pytest.param(Trouble(no_memory, "crash", Crash("", 137, "OOMKilled")), "killed", marks=pytest.mark.slow),
        pytest.param(Trouble(no_room, "unschedulable"), "Insufficient cpu", marks=pytest.mark.slow),
        pytest.param(Trouble(no_config, "config"), "CreateContainerConfigError", marks=pytest.mark.slow),
        pytest.param(Trouble(no_quota, "quota"), "exceeded quota.* describe resourcequota", marks=pytest.mark.slow),
    ],
    ids=lambda each: each.change.__name__ if isinstance(each, Trouble) else "",
)
def test_start_canary_that_the_cluster_cannot_run_is_retired(place: Place, trouble: Trouble, why: str) -> None:
    start(place, place.good[0])
    place.meet(trouble)
    fails(place, place.good[1], why, "retired")


@pytest.mark.parametrize(
    ("kind", "spec", "fix"),
    [
        ("Deployment", {"replicas": 0}, r"kubectl .*scale deployment/taxi-serving --replicas 1"),
        ("HorizontalPodAutoscaler", {"minReplicas": 0}, "set minReplicas of the HorizontalPodAutoscaler"),
    ],
)
def test_start_for_no_pods_is_refused_before_the_canary(place: Place, kind: str, spec: Any, fix: str) -> None:
    start(place, place.good[0])
    for each in place.objects:
        if (each["kind"], each["metadata"]["name"]) == (kind, "model-serving"):
            each["spec"] |= spec
    with pytest.raises(ClusterError if kind != "Deployment" and place.context else RolloutError, match=fix):
        start(place, place.good[1])
    assert serves(place) == (place.good[0], None)
    assert place.store.stage("taxi", place.good[1]) == "candidate"


@pytest.mark.parametrize(
    "act", ["start", pytest.param("promote", marks=pytest.mark.slow), pytest.param("rollback", marks=pytest.mark.slow)]
)
def test_paused_deployment_is_named_with_what_lets_it_go_on_and_nothing_is_changed(place: Place, act: str) -> None:
    hold(place)
    with place.cluster() as cluster:
        rollout = place.rollout(cluster)
        if act != "promote":
            rollout.promote("the suite says so")
        place.edit("taxi-serving", "kubectl-rollout", paused=True)
        stood = serves(place), place.store.stages("taxi")
        with pytest.raises(RolloutError, match=r"is paused.*kubectl .*rollout resume deployment/taxi-serving"):
            _ = rollout.start(place.wrong) if act == "start" else getattr(rollout, act)("the suite says so")
    assert (serves(place), place.store.stages("taxi")) == stood


def test_field_that_somebody_edited_is_found_before_the_canary_and_taken_only_by_force(place: Place) -> None:
    start(place, place.good[0])
    place.edit("taxi-serving", "somebody", progressDeadlineSeconds=500)
    with pytest.raises(ClusterError, match=r"somebody.*progressDeadlineSeconds.*--force-conflicts"):
        start(place, place.good[1])
    assert serves(place) == (place.good[0], None)
    assert place.store.stage("taxi", place.good[1]) == "candidate"
    with place.cluster() as cluster, pytest.raises(RolloutInconclusiveError):
        place.rollout(cluster, force=True).start(place.good[1])


def test_promote_field_that_somebody_edited_since_the_canary_is_a_conflict(place: Place) -> None:
    hold(place)
    place.edit("taxi-serving", "somebody", progressDeadlineSeconds=500)
    with (
        place.cluster() as cluster,
        pytest.raises(ClusterError, match=r"somebody.*progressDeadlineSeconds.*--force-conflicts"),
    ):
        place.rollout(cluster).promote("the suite says so")


def test_start_overlay_that_does_not_fit_the_schema_is_told(place: Place) -> None:
    for each in place.objects:
        if each["kind"] == "Deployment":
            each["spec"]["replcas"] = 1
    with pytest.raises(ClusterError, match=r"replcas.*correct it in manifests/"):
        start(place, place.good[0])


def test_start_in_a_namespace_that_is_missing_is_told(place: Place) -> None:
    move(place, "slipway-test-none")
    with (
        place.cluster("slipway-test-none") as cluster,
        pytest.raises(ClusterError, match=r"kubectl .*create namespace slipway-test-none"),
    ):
        place.rollout(cluster).start(place.good[0])


def test_start_in_a_namespace_that_is_being_deleted_is_told(place: Place) -> None:
    with place.terminating() as name:
        move(place, name)
        with (
            Cluster(name, place.context) as cluster,
            pytest.raises(ClusterError, match=f"being terminated.*kubectl .*wait --for=delete namespace/{name}"),
        ):
            place.rollout(cluster).start(place.good[0])


@pytest.fixture
def kubeconfig(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the cluster's that a test may change; it is the current one."""
    path = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
    copied = tmp_path / "changed"
    copied.write_text(path.read_text())
    monkeypatch.setenv("KUBECONFIG", str(copied))
    return copied


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"token": "a.foreign.token"}, r"401, Unauthorized.*expired, or another cluster's.*auth whoami"),
        ({}, r"system:anonymous.*config view --minify"),
    ],
    ids=["foreign token", "none"],
)
def test_cluster_credentials_that_are_none_of_its_are_told(
    place: Place, kubeconfig: Path, user: dict[str, str], why: str
) -> None:
    content = yaml.safe_load(kubeconfig.read_text())
    content["users"] = [{"name": one["name"], "user": user} for one in content["users"]]
    kubeconfig.write_text(yaml.safe_dump(content))
    with pytest.raises(ClusterError, match=why), place.cluster() as cluster:
        place.rollout(cluster).status()
