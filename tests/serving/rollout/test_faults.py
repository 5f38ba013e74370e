"""What goes wrong in a cluster, one thing at a time; each rollout here begins with version one in production."""

from __future__ import annotations

import pytest

from slipway.errors import ClusterError, ModelQuarantinedError, RolloutError, RolloutInconclusiveError, StoreError
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import World


def fails(world: World, number: int, why: str) -> None:
    """A rollout that is rolled back: version one stays in production, and no canary is left."""
    with pytest.raises(RolloutError, match=why):
        world.start(number)
    assert world.stable == world.versions[0]
    assert world.deployment("taxi-serving-canary") is None
    production = world.store.production("taxi")
    assert production is not None
    assert production.number == world.versions[0]


@pytest.mark.parametrize(
    ("fate", "why"),
    [
        ("image", 'ImagePullBackOff: Back-off pulling image "tensorflow/serving@sha256'),
        ("config", "CreateContainerConfigError: configmap"),
        ("quota", "FailedCreate: .*exceeded quota"),
        ("deadline", "ProgressDeadlineExceeded"),
        ("stall", "not ready after 1 s: 1 new, 0 available of 1; pod .* is Pending, ContainerCreating"),
        ("unseen", "no controller .* in 1 s"),
    ],
)
def test_start_canary_that_the_cluster_cannot_run_is_rolled_back_unjudged(served: World, fate: str, why: str) -> None:
    second, patient = served.versions[1], served.policy
    served.api.fates["taxi-serving-canary"] = fate  # type: ignore[assignment]
    if fate in {"stall", "unseen"}:
        served.policy = patient.model_copy(update={"ready_seconds": 1})
    fails(served, second, why)
    served.policy = patient
    assert served.store.stage("taxi", second) == "retired"
    served.api.fates.clear()
    served.start(second)
    assert served.stable == second


def test_start_pod_that_crash_loops_on_the_model_is_quarantined_with_its_last_lines(served: World) -> None:
    second = served.versions[1]
    served.api.fates["taxi-serving-canary"] = "crash"
    fails(
        served,
        second,
        "CrashLoopBackOff after 2 restarts, exit code 255 Error; its last lines:\nFailed to start server",
    )
    assert served.store.stage("taxi", second) == "quarantined"
    assert "Could not find variable" in served.store.history("taxi")[-1].why


def test_start_quarantined_version_is_refused_before_anything_changes(served: World) -> None:
    second = served.versions[1]
    served.store.quarantine("taxi", second, why="p99 doubled", who="ci")
    before = len(served.api.objects.writes)
    with pytest.raises(ModelQuarantinedError, match=r"quarantined by ci: p99 doubled. Push another version"):
        served.start(second)
    kinds = {kind for kind, _, _ in served.api.objects.writes[before:]}
    assert kinds == {"Lease"}


def test_start_damaged_version_is_refused(served: World) -> None:
    version = served.store.version("taxi", served.versions[1])
    with open(f"{version.uri}/saved_model.pb", "ab") as file:  # noqa: PTH123
        file.write(b"!")
    with pytest.raises(StoreError, match="is not what was pushed"):
        served.start(served.versions[1])
    assert served.deployment("taxi-serving-canary") is None


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (Pod(predictions=[0.25, 0.7501]), r"differently than training did: by 0\.0001, allowed is 1e-05"),
        (Pod(predictions=[0.25, float("nan")]), "differently than training did: by inf"),
        (Pod(predictions=[0.25]), "differently than training did: by inf"),
        (Pod(status=400), "refuses the golden requests: .*400, .*Could not find variable"),
    ],
)
def test_start_golden_mismatch_is_quarantined(served: World, pod: Pod, why: str) -> None:
    served.servers.new_pod = lambda: pod
    fails(served, served.versions[1], why)
    assert served.store.stage("taxi", served.versions[1]) == "quarantined"


def test_start_more_errors_than_stable_are_quarantined(served: World) -> None:
    served.servers.new_pod = lambda: Pod(requests_each_reading=100, errors_each_reading=15)
    fails(
        served, served.versions[1], "share of errors 15.00% of 100 requests, stable 0.00% of 100; allowed is 1.00% more"
    )
    assert served.store.stage("taxi", served.versions[1]) == "quarantined"


def test_start_canary_that_answers_errors_only_is_quarantined_before_there_is_enough_traffic(served: World) -> None:
    served.policy = served.policy.model_copy(update={"traffic_seconds": 600, "min_requests": 1_000_000})
    served.servers.new_pod = lambda: Pod(requests_each_reading=20, errors_each_reading=20)
    fails(served, served.versions[1], "share of errors 100.00%")
    assert served.store.stage("taxi", served.versions[1]) == "quarantined"


def test_start_side_car_that_restarts_under_load_does_not_blame_the_model(served: World) -> None:
    for deployment in [each for each in served.objects if each["kind"] == "Deployment"]:
        containers = deployment["spec"]["template"]["spec"]["containers"]
        containers.append({"name": "request-logger", "image": containers[0]["image"]})
    served.policy = served.policy.model_copy(update={"traffic_seconds": 60, "min_requests": 150})

    def restart() -> None:
        if any("comparing" in line for line in served.said):
            served.api.fates["taxi-serving-canary"] = "side-car"
            served.api.controller.look()

    served.on_pause = restart
    served.start(served.versions[1])
    assert served.api.fates["taxi-serving-canary"] == "side-car"
    assert served.stable == served.versions[1]


def test_start_slower_p99_than_stable_is_quarantined(served: World) -> None:
    served.servers.new_pod = lambda: Pod(requests_each_reading=100, latency=9000.0)
    fails(served, served.versions[1], r"p99 1\d\.\d\d ms, stable 1\.\d\d ms; allowed is 1.5 times as much")


def test_start_with_too_little_traffic_holds_the_canary(served: World) -> None:
    second = served.versions[1]
    served.servers.new_pod = lambda: Pod(requests_each_reading=20)
    with pytest.raises(RolloutInconclusiveError, match="the canary answered 20 requests and stable 100, at least 50"):
        served.start(second)
    assert served.stable == served.versions[0]
    assert served.deployment("taxi-serving-canary") is not None
    assert served.store.stage("taxi", second) == "canary"
    with pytest.raises(
        RolloutError,
        match=f"version {second} of taxi is held since .*rollout promote taxi` or `slipway rollout abort taxi`",
    ):
        served.start(served.versions[2])


def test_start_with_too_little_traffic_rolls_back_where_the_policy_says_so(served: World) -> None:
    served.servers.new_pod = lambda: Pod(requests_each_reading=20)
    served.policy = served.policy.model_copy(update={"on_inconclusive": "rollback"})
    fails(served, served.versions[1], "too little traffic")
    assert served.store.stage("taxi", served.versions[1]) == "retired"


def test_start_held_version_again_looks_again(served: World) -> None:
    second = served.versions[1]
    served.servers.new_pod = lambda: Pod(requests_each_reading=20)
    with pytest.raises(RolloutInconclusiveError):
        served.start(second)
    for pod in served.servers.pods.values():
        pod.requests_each_reading = 100
    served.start(second)
    assert served.stable == second


def test_start_canary_that_restarts_under_load_is_quarantined(served: World) -> None:
    served.policy = served.policy.model_copy(update={"traffic_seconds": 5, "min_requests": 10_000})

    def crash() -> None:
        if any("comparing" in line for line in served.said):
            served.api.fates["taxi-serving-canary"] = "restarted"

    served.on_pause = crash
    fails(served, served.versions[1], "restarted 1 times under load")
    assert served.store.stage("taxi", served.versions[1]) == "quarantined"


def test_start_canary_that_crashes_and_is_not_ready_again_is_quarantined(served: World) -> None:
    served.policy = served.policy.model_copy(update={"traffic_seconds": 5, "min_requests": 10_000})

    def crash() -> None:
        if any("comparing" in line for line in served.said):
            served.api.fates["taxi-serving-canary"] = "crash"

    served.on_pause = crash
    fails(served, served.versions[1], "restarted 2 times under load")
    assert served.store.stage("taxi", served.versions[1]) == "quarantined"


@pytest.mark.parametrize("answer", ["<html>", ':tensorflow:serving:request_count{model_name="taxi",status="OK"} NaN\n'])
def test_start_metrics_that_are_none_stop_the_rollout_and_blame_nobody(served: World, answer: str) -> None:
    class Silent(Pod):
        def metrics(self, model: str) -> str:
            return answer

    served.servers.new_pod = Silent
    with pytest.raises(ClusterError, match=r"pod taxi-serving-canary.*prometheus/metrics is not valid metrics"):
        served.start(served.versions[1])
    assert served.store.stage("taxi", served.versions[1]) == "canary"


def test_start_golden_requests_that_meet_a_gateway_timeout_blame_nobody(served: World) -> None:
    served.servers.new_pod = lambda: Pod(status=504)
    with pytest.raises(ClusterError, match=r"504.*Run it again"):
        served.start(served.versions[1])
    assert served.store.stage("taxi", served.versions[1]) == "canary"


def test_start_stable_that_does_not_come_up_goes_back(served: World) -> None:
    first, second = served.versions[:2]
    served.api.fates[f"taxi-serving@{second}"] = "quota"
    fails(served, second, "exceeded quota")
    assert served.stable == first


def test_start_first_version_that_fails_leaves_nothing(world: World) -> None:
    world.servers.new_pod = lambda: Pod(predictions=[0.1, 0.2])
    with pytest.raises(RolloutError, match="nothing serves"):
        world.start(world.versions[0])
    assert world.stable is None
    assert world.api.objects.list("Deployment") == []


def test_start_replicas_of_the_autoscaler_are_left_alone(served: World) -> None:
    served.api.objects.edit("Deployment", "slipway-staging", "taxi-serving", "horizontal-pod-autoscaler", replicas=3)
    served.start(served.versions[1])
    stable = served.deployment("taxi-serving")
    assert stable is not None
    assert stable["spec"]["replicas"] == 3


def test_start_slow_controller_is_waited_for(served: World) -> None:
    served.api.controller.slow = 20
    served.start(served.versions[1])
    assert served.stable == served.versions[1]
    stable = served.deployment("taxi-serving")
    assert stable is not None
    assert stable["status"]["observedGeneration"] == stable["metadata"]["generation"]


def test_start_stable_pod_that_goes_during_the_comparison_does_not_count(served: World) -> None:
    """An autoscaler takes a pod away between the list and the question."""
    (pod,) = served.api.objects.list("Pod")
    name = pod["metadata"]["name"]
    served.policy = served.policy.model_copy(update={"traffic_seconds": 5})

    served.api.before = {f"pods/{name}:8501/proxy": lambda: served.api.objects.delete("Pod", "slipway-staging", name)}
    served.start(served.versions[1])
    assert served.stable == served.versions[1]
