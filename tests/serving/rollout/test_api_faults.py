"""An API server that stumbles, is down, loses answers, or refuses; version one is in production when it begins."""

from __future__ import annotations

import pytest

from slipway.errors import ClusterError, RolloutError
from tests.fakes.kubernetes.world import World


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


def test_start_api_server_that_times_out_is_asked_again(served: World) -> None:
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


def test_start_field_that_somebody_edited_is_told_and_not_taken(served: World) -> None:
    stable = served.deployment("taxi-serving")
    assert stable is not None
    template = stable["spec"]["template"]
    template["spec"]["containers"][0]["image"] = "tensorflow/serving@sha256:" + "b" * 64
    served.api.objects.edit("Deployment", "slipway-staging", "taxi-serving", "kubectl-edit", template=template)
    with pytest.raises(ClusterError, match=r"conflict with \"kubectl-edit\".*image.*--force-conflicts"):
        served.start(served.versions[1])
    with served.cluster() as cluster:
        served.rollout(cluster, force=True).start(served.versions[1])
    assert served.stable == served.versions[1]


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
