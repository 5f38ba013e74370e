"""What people decide: promote, abort, roll back; and what they see."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import yaml

from slipway.errors import RolloutError, RolloutInconclusiveError
from tests.fakes.kubernetes.controller import Fate
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.server import ACCOUNT
from tests.fakes.kubernetes.world import DIGEST, PROJECT, World, second_held


def test_promote_held_version_serves_it_and_says_who_decided(held: World) -> None:
    first, second = held.versions[:2]
    with held.cluster() as cluster:
        held.rollout(cluster).promote("the demo needs it")
    assert held.stable == second
    last = held.store.history("taxi")[-1]
    assert last.why == f"promoted by {ACCOUNT} (says: ann): the demo needs it"
    assert (last.who, last.says) == (ACCOUNT, "ann")
    assert held.store.stage("taxi", first) == "retired"


def test_promote_version_that_was_quarantined_meanwhile_rolls_back(held: World) -> None:
    first, second = held.versions[:2]
    held.store.quarantine("taxi", second, why="wrong data", who="bob")
    with held.cluster() as cluster, pytest.raises(RolloutError, match=r"rolled back.*quarantined by bob: wrong data"):
        held.rollout(cluster).promote("looks fine")
    assert held.stable == first
    assert held.deployment("taxi-serving-canary") is None


def test_abort_takes_the_canary_away_and_judges_nothing(held: World) -> None:
    first, second = held.versions[:2]
    with held.cluster() as cluster:
        assert held.rollout(cluster).abort("not today").phase == "aborted"
        with pytest.raises(RolloutError, match="no rollout of taxi"):
            held.rollout(cluster).abort("again")
    assert held.stable == first
    assert held.deployment("taxi-serving-canary") is None
    assert held.store.stage("taxi", second) == "retired"


def test_abort_of_a_version_that_the_store_has_as_stable_moves_the_pin_back(held: World) -> None:
    """As a process leaves it that dies right after the promotion."""
    first, second = held.versions[:2]
    held.store.promote("taxi", second, why="looks fine", who="bob")
    with held.cluster() as cluster:
        held.rollout(cluster).abort("not today")
    production = held.store.production("taxi")
    assert production is not None
    assert (held.stable, production.number) == (first, first)
    assert held.store.stage("taxi", second) == "retired"


def test_start_held_version_that_was_quarantined_meanwhile_takes_its_canary_away(held: World) -> None:
    first, second = held.versions[:2]
    held.store.quarantine("taxi", second, why="wrong data", who="bob")
    with pytest.raises(RolloutError, match=r"rolled back and is quarantined.*quarantined by bob: wrong data"):
        held.start(second)
    assert held.stable == first
    assert held.deployment("taxi-serving-canary") is None


def test_start_of_the_stable_version_changes_nothing(served: World) -> None:
    first = served.versions[0]
    before = [write for write in served.api.objects.writes if write[0] != "Lease"]
    served.start(first)
    assert served.said[-1] == f"version {first} of taxi is stable already"
    assert [write for write in served.api.objects.writes if write[0] != "Lease"] == before


def test_status_tells_versions_replicas_and_why(held: World) -> None:
    first, second = held.versions[:2]
    with held.cluster() as cluster:
        status = held.rollout(cluster).status()
    counts = {"version": first, "replicas": 1, "updated": 1, "ready": 1, "paused": False}
    assert status["stable"] == counts | {"overlay": status["rollout"]["overlay"]}
    assert status["canary"]["version"] == second
    assert (status["production"], status["holder"]) == (first, None)
    assert status["rollout"]["phase"] == "held"
    assert "too little traffic" in status["rollout"]["reasons"][0]


def test_rollouts_need_no_right_that_the_role_lacks_and_few_that_it_has(world: World) -> None:
    """The server refuses with 403 what the Role does not grant; here, that it grants little beyond what was used."""
    second_held(world)
    with world.cluster() as cluster:
        rollout = world.rollout(cluster)
        rollout.status()
        rollout.promote("yes")
        for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Service", "ServiceAccount"):
            assert world.api.objects.list(kind)
        workload, state = rollout._workload("gs://bucket/models"), rollout._state()
        assert state
        workload.remove_all(world.versions[2], rollout._overlays.read(state.overlay))
        assert not world.api.objects.list("Service")
    world.api.fates["taxi-serving-canary"] = "crash"
    with pytest.raises(RolloutError):
        world.start(world.versions[2])
    role = yaml.safe_load((PROJECT / "manifests/rollout-access/base/role.yaml").read_text())
    granted = {
        (verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert world.api.asked <= granted
    mutating = {right for right in granted - world.api.asked if right[0] not in {"get", "list"}}
    assert mutating == set()


def test_start_of_the_stable_version_with_changed_manifests_goes_through_a_canary(served: World) -> None:
    first = served.versions[0]
    served.objects = yaml.safe_load(yaml.safe_dump(served.objects).replace(DIGEST, "sha256:" + "c" * 64))
    served.start(first)
    assert any(f"canary: version {first} on 1 pods, beside version {first}" in line for line in served.said)
    stable = served.deployment("taxi-serving")
    assert stable is not None
    assert "c" * 64 in stable["spec"]["template"]["spec"]["containers"][0]["image"]
    assert served.deployment("taxi-serving-canary") is None


def test_start_of_the_stable_version_after_the_store_moved_serves_it_from_there(served: World) -> None:
    """A ConfigMap with a pin is immutable, and the version is the same."""
    first = served.versions[0]
    served.policy = served.policy.model_copy(update={"models_path": "gs://other-bucket/models"})
    served.start(first)
    stable = served.deployment("taxi-serving")
    assert stable is not None
    volumes = stable["spec"]["template"]["spec"]["volumes"]
    name = next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "models-config")
    pin = served.api.objects.get("ConfigMap", "slipway-staging", name)
    assert 'base_path: "gs://other-bucket/models/taxi"' in pin["data"]["models.config"]


def test_start_of_the_stable_version_with_bad_manifests_keeps_it_stable(served: World) -> None:
    first = served.versions[0]
    served.objects = yaml.safe_load(yaml.safe_dump(served.objects).replace(DIGEST, "sha256:" + "c" * 64))
    served.servers.new_pod = lambda: Pod(predictions=[0.0, 0.0])
    with pytest.raises(RolloutError, match="stays the stable one, with the manifests that it had"):
        served.start(first)
    assert served.store.stage("taxi", first) == "stable"


def test_promote_changed_manifests_mend_a_stable_version_that_crashes(served: World) -> None:
    """The old pods serve the same version, and crash on: that is no fault of the new ones."""
    first = served.versions[0]
    served.api.fates["taxi-serving"] = "crash"
    served.objects = yaml.safe_load(yaml.safe_dump(served.objects).replace(DIGEST, "sha256:" + "c" * 64))
    with pytest.raises(RolloutInconclusiveError, match="stable 0"):
        served.start(first)
    served.api.fates["taxi-serving"] = "unseen"
    fates: Iterator[Fate] = iter(["stall", "ready"])

    def control() -> None:
        served.api.fates["taxi-serving"] = next(fates, "ready")
        time.sleep(0.1)  # for the controller to see it, and the old pods beside the new ones

    served.on_pause = control
    with served.cluster() as cluster:
        assert served.rollout(cluster).promote("it serves nothing now").phase == "promoted"
    assert any("promoting" in line for line in served.said)


def test_promote_changed_manifests_that_stable_does_not_come_up_with_waits_for_others(held: World) -> None:
    first = held.versions[0]
    with held.cluster() as cluster:
        held.rollout(cluster).abort("first things first")
        held.objects = yaml.safe_load(yaml.safe_dump(held.objects).replace(DIGEST, "sha256:" + "c" * 64))
        with pytest.raises(RolloutInconclusiveError):
            held.rollout(cluster).start(first)
        held.api.fates["taxi-serving"] = "quota"
        with pytest.raises(RolloutError, match=r"with the new manifests: .*quota.*`slipway rollout abort taxi`"):
            held.rollout(cluster).promote("yes")
        held.api.fates.clear()
        assert held.rollout(cluster).promote("yes").phase == "promoted"
    assert held.store.stage("taxi", first) == "stable"
