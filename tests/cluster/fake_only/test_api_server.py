"""An API server that stumbles, is down, loses answers, or refuses; version one is in production when it begins."""

from __future__ import annotations

import time

import pytest

from serving.rollout.cluster import Cluster
from slipway.errors import ClusterError, RolloutError
from tests.fakes.kubernetes.world import NAMESPACE, World


@pytest.mark.parametrize("code", [429, 503])
def test_start_api_server_that_stumbles_is_asked_again(served: World, code: int) -> None:
    served.api.fail("PATCH", code, times=2)
    served.api.fail("GET /api/v1/namespaces/slipway-staging/pods", code, times=2)
    served.api.fail("POST", code, times=1)
    served.start(served.versions[1])
    assert served.stable == served.versions[1]


def test_start_api_server_that_is_down_stops_and_goes_on_later(served: World) -> None:
    second = served.versions[1]
    served.api.fail("PATCH /apis/apps/v1/namespaces/slipway-staging/deployments/taxi-serving-canary", 500, times=3)
    with pytest.raises(ClusterError, match=r"answers 500: etcdserver: .*, tried 3 times in .*Run it again"):
        served.start(second)
    assert served.stable == served.versions[0]
    served.start(second)
    assert served.stable == second
    assert any("going on with version" in line for line in served.said)


def test_start_answers_that_get_lost_do_no_harm(served: World) -> None:
    for what in ("PATCH", "PUT", "DELETE"):
        served.api.fail(what, 504, times=1, after=True)
    served.start(served.versions[1])
    assert served.stable == served.versions[1]


def test_start_answers_that_break_off_are_asked_for_again(served: World) -> None:
    for what in ("GET /apis/apps", "PATCH /apis/apps", "PUT", "GET /api/v1/namespaces/slipway-staging/pods"):
        served.api.fail(what, 0, times=2, cut=True)
    served.start(served.versions[1])
    assert served.stable == served.versions[1]
    assert all(fault.times == 0 for fault in served.api.faults)


def test_start_api_server_that_times_out_is_asked_again(served: World) -> None:
    served.waits = 1
    served.api.fail("PATCH", 0, times=1, seconds=1.5)
    served.start(served.versions[1])
    assert served.stable == served.versions[1]


def test_start_lease_that_others_touch_is_read_again(served: World) -> None:
    served.api.fail("PUT /apis/coordination", 409, times=5)
    served.start(served.versions[1])
    assert served.stable == served.versions[1]


def test_start_lease_that_others_touch_for_ever_is_given_up(served: World) -> None:
    served.api.fail("PUT /apis/coordination", 409, times=100_000)
    with pytest.raises(RolloutError, match=r"the lease .*run it later"):
        served.start(served.versions[1])
    assert served.stable == served.versions[0]


def test_start_without_rights_names_the_role(served: World) -> None:
    served.api.forbid("patch", "deployments")
    with pytest.raises(ClusterError, match=r"403, .*cannot patch resource .*manifests/rollout-access"):
        served.start(served.versions[1])


@pytest.mark.parametrize("times", [2, 100])
def test_start_apply_that_meets_other_writes_is_tried_again_within_bounds(served: World, times: int) -> None:
    served.api.fail("PATCH /apis/apps", 409, times=times)
    if times == 2:
        served.start(served.versions[1])
        assert served.stable == served.versions[1]
    else:
        with pytest.raises(ClusterError, match=r"apply Deployment .*, tried 3 times in .*Run it again"):
            served.start(served.versions[1])


def test_start_outage_of_25_seconds_is_outlasted(served: World) -> None:
    """Nobody listens; then the server refuses everything until it has read its rules."""
    clock = 0.0

    def pause(seconds: float) -> None:
        nonlocal clock
        clock += seconds
        time.sleep(0.01)
        if clock >= 25 and not served.api.is_up:
            served.api.come_up(unread_rules=2)

    cluster = Cluster(NAMESPACE, timeout=(1, 1), pause=pause)
    down = iter([served.api.fates.clear, served.api.go_down])
    served.on_pause = lambda: next(down, lambda: None)()
    served.api.fates["taxi-serving-canary"] = "stall"
    with cluster:
        served.rollout(cluster).start(served.versions[1])
    assert clock >= 25
    assert served.stable == served.versions[1]


def test_start_outage_that_lasts_says_to_run_the_command_again(served: World) -> None:
    down = iter([served.api.go_down])
    served.on_pause = lambda: next(down, lambda: None)()
    served.api.fates["taxi-serving-canary"] = "stall"
    with pytest.raises(ClusterError, match=r"does not answer: .*tried 3 times in .*Run it again"):
        served.start(served.versions[1])
    served.api.come_up()
    served.api.fates.clear()
    served.expire_lease()
    served.start(served.versions[1])
    assert served.stable == served.versions[1]


def test_cluster_server_that_starts_is_asked_again_only_for_what_it_granted(world: World) -> None:
    with world.cluster() as cluster:
        cluster.get("Deployment", "taxi-serving")
        world.api.come_up_again(unread_rules=2)
        cluster.get("Deployment", "taxi-serving")
        world.api.come_up_again(unread_rules=1)
        with pytest.raises(ClusterError, match=r"403, .*manifests/rollout-access"):
            cluster.list("Pod", {})
        world.api.come_up_again(unread_rules=100)
        with pytest.raises(ClusterError, match=r"403, .*, tried 3 times in .*manifests/rollout-access"):
            cluster.get("Deployment", "taxi-serving")
        world.api.come_up_again()


def test_start_quota_of_objects_is_told_with_the_command_that_shows_it(served: World) -> None:
    message = 'deployments.apps "x" is forbidden: exceeded quota: objects, requested: count/deployments.apps=1'
    served.api.fail("PATCH /apis/apps", 403, times=100, message=message)
    with pytest.raises(
        ClusterError, match=r"exceeded quota.*kubectl --namespace slipway-staging describe resourcequota"
    ):
        served.start(served.versions[1])


def test_start_overlay_that_does_not_fit_the_schema_is_sent_once(served: World) -> None:
    for each in served.objects:
        if each["kind"] == "Deployment":
            each["spec"]["replcas"] = 2
    before = len(served.api.requests)
    with pytest.raises(ClusterError, match=r"500: failed to create typed patch object.*replcas.*manifests/"):
        served.start(served.versions[1])
    assert len([one for one in served.api.requests[before:] if one.startswith("PATCH /apis/apps")]) == 1


def test_start_conflicts_of_several_fields_are_told_in_one_line(served: World) -> None:
    for each in served.objects:
        if each["kind"] == "Deployment":
            each["spec"]["replicas"] = 1
    served.api.objects.scale(NAMESPACE, "taxi-serving", "kubectl", 3)
    served.api.objects.edit("Deployment", NAMESPACE, "taxi-serving", "kubectl-edit", revisionHistoryLimit=9)
    with pytest.raises(ClusterError) as caught:
        served.start(served.versions[1])
    assert 'with "kubectl" with subresource "scale" using apps/v1: - .spec.replicas' in str(caught.value)
    assert "\n" not in str(caught.value)
