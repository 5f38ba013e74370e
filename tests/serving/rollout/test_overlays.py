"""With which overlay a version is served: the recorded one, whatever this checkout holds."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml

from serving.manifests import Object
from serving.rollout.lease import STATE, RolloutState
from serving.rollout.overlays import differences
from slipway.errors import ConfigError, RolledBackError, RolloutError, RolloutInconclusiveError
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import DIGEST, NAMESPACE, World

OTHER = "sha256:" + "c" * 64


def change_image(world: World) -> None:
    """Another image in the checkout."""
    world.objects = yaml.safe_load(yaml.safe_dump(world.objects).replace(DIGEST, OTHER))


def spoil(world: World) -> None:
    """A checkout that can roll nothing out: its placeholders are as they come."""
    text = yaml.safe_dump(world.objects)
    world.objects = yaml.safe_load(re.sub("sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, text))


def image(world: World) -> str:
    stable = world.deployment("taxi-serving")
    assert stable
    return str(stable["spec"]["template"]["spec"]["containers"][0]["image"]).partition("@")[2]


def recorded(world: World) -> RolloutState:
    lease = world.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
    return RolloutState.model_validate_json(lease["metadata"]["annotations"][STATE])


def forget(world: World) -> None:
    """What a release left that recorded no overlays."""
    lease = world.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
    state = recorded(world).model_copy(update={"overlay": "", "overlays": {}})
    lease["metadata"]["annotations"][STATE] = state.model_dump_json()
    world.api.objects.replace(lease, "OpenAPI-Generator")
    stable = world.api.objects.get("Deployment", NAMESPACE, "taxi-serving")
    del stable["metadata"]["annotations"]["slipway/overlay"]
    world.api.objects.replace(stable, "OpenAPI-Generator")


def test_rollback_serves_the_version_with_the_overlay_that_it_had(served: World) -> None:
    first, second = served.versions[:2]
    change_image(served)
    served.start(second)
    assert image(served) == OTHER
    spoil(served)
    with served.cluster() as cluster:
        rollout = served.rollout(cluster)
        assert rollout.status()["stable"]["overlay"] == recorded(served).overlays[second]
        rollout.rollback("bad")
        assert (rollout.status()["rollout"]["version"], rollout.status()["rollout"]["left"]) == (first, second)
    assert (served.stable, image(served)) == (first, DIGEST)


@pytest.mark.parametrize("act", ["promote", "abort", "start"])
def test_decision_about_a_canary_needs_no_overlay_of_this_checkout(held: World, act: str) -> None:
    first, second = held.versions[:2]
    spoil(held)
    held.servers.new_pod = lambda: Pod(requests_each_reading=100)
    for pod in held.api.objects.list("Pod"):
        held.servers.pod(pod["metadata"]["name"]).requests_each_reading = 100
    with held.cluster() as cluster:
        rollout = held.rollout(cluster)
        _ = rollout.start(second) if act == "start" else getattr(rollout, act)("decided")
    assert (held.stable, image(held)) == (first if act == "abort" else second, DIGEST)


def test_rollback_without_a_recorded_overlay_uses_the_one_that_serves_now(served: World) -> None:
    first, second = served.versions[:2]
    forget(served)
    change_image(served)
    served.start(second)
    spoil(served)
    with served.cluster() as cluster:
        served.rollout(cluster).rollback("bad")
    assert (served.stable, image(served)) == (first, OTHER)
    assert any("no overlay is recorded" in line and "serves now" in line for line in served.said)


def test_rollback_where_no_overlay_is_recorded_at_all_uses_that_of_the_checkout_or_says_why_not(twice: World) -> None:
    first = twice.versions[0]
    forget(twice)
    filled_in = twice.objects
    spoil(twice)
    with twice.cluster() as cluster:
        with pytest.raises(ConfigError, match=r"no overlay is recorded (.|\n)*was never set"):
            twice.rollout(cluster).rollback("bad")
        twice.objects = filled_in
        twice.rollout(cluster).rollback("bad")
    assert twice.stable == first
    assert any("the one of this checkout" in line for line in twice.said)


def test_rollback_with_a_published_overlay_that_was_changed_says_so_and_uses_the_one_that_serves(served: World) -> None:
    first, second = served.versions[:2]
    change_image(served)
    served.start(second)
    published = Path(served.store.uri).parent / "manifests" / f"{recorded(served).overlays[first]}.yaml"
    published.write_text(published.read_text().replace(DIGEST, "sha256:" + "d" * 64))
    with served.cluster() as cluster:
        served.rollout(cluster).rollback("bad")
    assert (served.stable, image(served)) == (first, OTHER)
    assert any("SHA-256" in line and "serves now" in line for line in served.said)


def test_promotion_that_fails_returns_to_the_overlay_before(served: World) -> None:
    first, second = served.versions[:2]
    change_image(served)
    served.api.fates[f"taxi-serving@{second}"] = "crash"
    with pytest.raises(RolledBackError):
        served.start(second)
    assert (served.stable, image(served)) == (first, DIGEST)


def test_abort_of_changed_manifests_that_do_not_come_up_returns_to_those_before(served: World) -> None:
    first = served.versions[0]
    served.servers.new_pod = Pod
    change_image(served)
    with pytest.raises(RolloutInconclusiveError):
        served.start(first)
    served.api.fates["taxi-serving"] = "quota"
    with served.cluster() as cluster:
        with pytest.raises(RolloutError, match="is not ready with the new manifests"):
            served.rollout(cluster).promote("yes")
        assert image(served) == OTHER
        served.api.fates.clear()
        served.rollout(cluster).abort("not today")
    assert image(served) == DIGEST


def test_start_says_what_the_overlay_changes_and_that_it_is_refused_unless_filled_in(served: World) -> None:
    change_image(served)
    served.start(served.versions[1])
    told = next(line for line in served.said if ".image: " in line)
    assert "Deployment model-serving: spec.template.spec.containers.tensorflow-serving.image" in told
    before = len(served.api.objects.writes)
    spoil(served)
    with pytest.raises(ConfigError, match="was never set"):
        served.start(served.versions[2])
    assert len(served.api.objects.writes) == before


def deployment(**spec: object) -> Object:
    return {"kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}


def test_differences_name_objects_and_fields_and_stay_short() -> None:
    old, service = deployment(replicas=2, args=["a", "b"]), {"kind": "Service", "metadata": {"name": "y"}}
    new = deployment(replicas=20, args=["a", "c"], paused=True)
    assert differences([old, service], [new]) == [
        "Deployment x: spec.replicas: 2 -> 20",
        'Deployment x: spec.args.1: "b" -> "c"',
        "Deployment x: spec.paused: none -> true",
        "Service y: removed",
    ]
    assert differences([old], copy.deepcopy([old])) == []
    many = differences([], [{"kind": "Service", "metadata": {"name": f"{number:02}"}} for number in range(30)])
    assert many[-1] == "and 18 more"
    assert differences([deployment(text="a" * 999)], [deployment(text="\x1b[2J")])[0].endswith('"\\u001b[2J"')
