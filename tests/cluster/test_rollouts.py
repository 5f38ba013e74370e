"""Whole rollouts, and what goes wrong in a cluster: against a real one as against the fake, with the same outcome."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.errors import ClusterError, RolledBackError, RolloutError, RolloutInconclusiveError
from tests.cluster.places import Place, Trouble, require_label, wanted
from tests.fakes.kubernetes.controller import Crash


def start(place: Place, number: int) -> None:
    with place.cluster() as cluster:
        place.rollout(cluster).start(number)


def status(place: Place) -> dict[str, Any]:
    with place.cluster() as cluster:
        return place.rollout(cluster).status()


def serves(place: Place) -> tuple[int | None, int | None]:
    """The versions of stable and canary."""
    found = status(place)
    versions = [found[track] and found[track]["version"] for track in ("stable", "canary")]
    return versions[0], versions[1]


def fails(place: Place, number: int, why: str, stage: str) -> None:
    """A second version that is rolled back, while the first one serves on."""
    with pytest.raises(RolledBackError, match=why):
        start(place, number)
    assert serves(place) == (place.good[0], None)
    assert place.store.stage("taxi", number) == stage


def test_start_promote_and_roll_back(place: Place) -> None:
    first, second = place.good
    start(place, first)
    assert serves(place) == (first, None)
    with pytest.raises(RolloutInconclusiveError):  # nobody asks it
        start(place, second)
    assert serves(place) == (first, second)
    with place.cluster() as cluster:
        assert place.rollout(cluster).promote("the suite says so").phase == "promoted"
        assert serves(place) == (second, None)
        place.rollout(cluster).rollback("the suite says so")
    assert serves(place) == (first, None)
    assert place.store.stage("taxi", second) == "quarantined"


def test_abort_leaves_no_canary_and_the_version_may_be_started_again(place: Place) -> None:
    first, second = place.good
    start(place, first)
    with pytest.raises(RolloutInconclusiveError):
        start(place, second)
    with place.cluster() as cluster:
        place.rollout(cluster).abort("not today")
    assert serves(place) == (first, None)
    with pytest.raises(RolloutInconclusiveError):
        start(place, second)


def test_start_golden_mismatch_is_quarantined(place: Place) -> None:
    start(place, place.good[0])
    place.serve_wrong()
    fails(place, place.wrong, "differently than training did", "quarantined")


def test_start_broken_saved_model_is_quarantined(place: Place) -> None:
    start(place, place.good[0])
    place.meet(Trouble(lambda _: None, "crash"))
    fails(place, place.broken, "it cannot load the SavedModel", "quarantined")


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
        (Trouble(no_memory, "crash", Crash("", 137, "OOMKilled")), "killed"),
        (Trouble(no_room, "unschedulable"), "Insufficient cpu"),
        (Trouble(no_config, "config"), "CreateContainerConfigError"),
        (Trouble(no_quota, "quota"), "exceeded quota.* describe resourcequota"),
    ],
    ids=lambda each: each.change.__name__ if isinstance(each, Trouble) else "",
)
def test_start_canary_that_the_cluster_cannot_run_is_retired(place: Place, trouble: Trouble, why: str) -> None:
    start(place, place.good[0])
    place.meet(trouble)
    fails(place, place.good[1], why, "retired")


def test_promote_to_a_paused_deployment_says_how_it_goes_on(place: Place) -> None:
    start(place, place.good[0])
    with pytest.raises(RolloutInconclusiveError):
        start(place, place.good[1])
    place.edit("taxi-serving", "kubectl-rollout", paused=True)
    with (
        place.cluster() as cluster,
        pytest.raises(RolloutError, match=r"kubectl .*rollout resume deployment/taxi-serving"),
    ):
        place.rollout(cluster).promote("the suite says so")


def test_promote_field_that_somebody_else_owns_is_a_conflict(place: Place) -> None:
    start(place, place.good[0])
    with pytest.raises(RolloutInconclusiveError):
        start(place, place.good[1])
    place.edit("taxi-serving", "somebody", revisionHistoryLimit=7)
    with (
        place.cluster() as cluster,
        pytest.raises(ClusterError, match=r"somebody.*revisionHistoryLimit.*--force-conflicts"),
    ):
        place.rollout(cluster).promote("the suite says so")


def test_start_overlay_that_does_not_fit_the_schema_is_told(place: Place) -> None:
    for each in place.objects:
        if each["kind"] == "Deployment":
            each["spec"]["replcas"] = 1
    with pytest.raises(ClusterError, match=r"replcas.*correct it in manifests/"):
        start(place, place.good[0])


def test_start_in_a_namespace_that_is_missing_is_told(place: Place) -> None:
    name = "slipway-test-none"
    for each in place.objects:
        each["metadata"]["namespace"] = name
    with place.cluster(name) as cluster, pytest.raises(ClusterError, match=f"kubectl .*create namespace {name}"):
        place.rollout(cluster).start(place.good[0])


def test_cluster_foreign_token_is_told(
    place: Place, context: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster's address and authority, with a token that it did not give."""
    path = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
    content = yaml.safe_load(path.read_text())
    content["users"] = [{"name": one["name"], "user": {"token": "a.foreign.token"}} for one in content["users"]]
    changed = tmp_path / "foreign"
    changed.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(changed))
    with pytest.raises(ClusterError, match=r"401, Unauthorized.*auth whoami"), place.cluster() as cluster:
        place.rollout(cluster).status()


def test_require_label_refuses_a_namespace_of_others() -> None:
    require_label("mine", {"metadata": {"labels": {"slipway/test": "true", "team": "a"}}})
    with pytest.raises(RuntimeError, match="kubectl label namespace theirs"):
        require_label("theirs", {"metadata": {"labels": {"team": "a"}}})
