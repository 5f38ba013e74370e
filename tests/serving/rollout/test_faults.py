"""What goes wrong in a cluster, one thing at a time; each rollout here begins with version one in production."""

from __future__ import annotations

import re

import pytest

from slipway.errors import ClusterError, ModelQuarantinedError, RolloutError, RolloutInconclusiveError, StoreError
from tests.fakes.kubernetes.controller import CRASH_LOG, Crash, Fate
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import NAMESPACE, World

DENIED = (
    "FileSystemStoragePathSource encountered a filesystem access error: Could not find base path gs://b/models/taxi "
    "for servable taxi with error PERMISSION_DENIED: Error executing an HTTP request: HTTP response code 403"
)


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
        pytest.param("config", "CreateContainerConfigError: configmap", marks=pytest.mark.slow),
        pytest.param(
            "quota", "FailedCreate: .*exceeded quota.*kubectl .* describe resourcequota", marks=pytest.mark.slow
        ),
        pytest.param("deadline", "ProgressDeadlineExceeded", marks=pytest.mark.slow),
        ("stall", "not ready after 1 s: 1 new, 0 available of 1; pod .* is Pending, ContainerCreating"),
        pytest.param("unseen", "no controller .* in 1 s", marks=pytest.mark.slow),
        pytest.param("evicted", "has failed: Evicted, The node was low on resource: memory", marks=pytest.mark.slow),
        ("unschedulable", "is not scheduled: 0/3 nodes are available: 3 Insufficient cpu"),
    ],
)
def test_start_canary_that_the_cluster_cannot_run_is_rolled_back_unjudged(served: World, fate: str, why: str) -> None:
    second, patient = served.versions[1], served.policy
    served.api.fates["taxi-serving-canary"] = fate  # type: ignore[assignment]
    if fate in {"stall", "unseen", "evicted", "unschedulable"}:
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
        "CrashLoopBackOff after 2 restarts, exit code 255 Error: it cannot load the SavedModel; its last lines:\nF",
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
        pytest.param(Pod(predictions=[0.25]), "differently than training did: by inf", marks=pytest.mark.slow),
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


def test_start_canary_that_ends_once_under_load_and_comes_back_is_retired(served: World) -> None:
    served.policy = served.policy.model_copy(update={"traffic_seconds": 5, "min_requests": 10_000})

    def crash() -> None:
        if any("comparing" in line for line in served.said):
            served.api.fates["taxi-serving-canary"] = "restarted"

    served.on_pause = crash
    fails(served, served.versions[1], r"ended once while it served \(exit code 255 Error\) and came back")
    assert served.store.stage("taxi", served.versions[1]) == "retired"


@pytest.mark.parametrize(
    ("crash", "why", "stage"),
    [
        (Crash(log="", exit_code=139), "it ends while it serves this version", "quarantined"),
        (Crash(log="", exit_code=137, reason="OOMKilled"), "killed for memory", "retired"),
        pytest.param(Crash(log="", exit_code=143), "stopped by the kubelet", "retired", marks=pytest.mark.slow),
        pytest.param(Crash(log=DENIED), "it cannot read the model store", "retired", marks=pytest.mark.slow),
    ],
)
def test_start_canary_that_ends_again_and_again_under_load_is_judged_by_its_end(
    served: World, crash: Crash, why: str, stage: str
) -> None:
    served.api.controller.crash = crash
    served.policy = served.policy.model_copy(update={"traffic_seconds": 5, "min_requests": 10_000})

    def end() -> None:
        if any("comparing" in line for line in served.said):
            served.api.fates["taxi-serving-canary"] = "crash"

    served.on_pause = end
    fails(served, served.versions[1], f"CrashLoopBackOff after 2 restarts, exit code {crash.exit_code} .*{why}")
    assert served.store.stage("taxi", served.versions[1]) == stage


@pytest.mark.parametrize(
    ("fate", "stage", "log"),
    [
        ("crash", "retired", DENIED),
        pytest.param(
            "crash",
            "retired",
            "tensorflow_model_server: error while loading shared libraries: libcuda.so.1",
            marks=pytest.mark.slow,
        ),
        ("waits", "retired", DENIED),
        pytest.param("waits", "retired", "Running gRPC ModelServer at 0.0.0.0:8500 ...", marks=pytest.mark.slow),
        ("waits", "quarantined", CRASH_LOG),
    ],
)
def test_start_canary_that_does_not_come_up_is_judged_by_its_last_lines(
    served: World, fate: Fate, stage: str, log: str
) -> None:
    served.api.fates["taxi-serving-canary"] = fate
    served.api.controller.crash = Crash(log)
    served.policy = served.policy.model_copy(update={"ready_seconds": 1})
    fails(served, served.versions[1], f"its last lines:\n{re.escape(log)}")
    assert served.store.stage("taxi", served.versions[1]) == stage


def test_start_store_that_cannot_be_read_is_said_once_while_the_server_tries_again(served: World) -> None:
    served.api.fates["taxi-serving-canary"] = "waits"
    served.api.controller.crash = Crash(DENIED)
    looks = iter(range(5))

    def told() -> list[str]:
        return [line for line in served.said if "not ready yet: it cannot read the model store" in line]

    def heal() -> None:
        if told() and next(looks, None) is None:
            served.api.fates.clear()

    served.on_pause = heal
    served.start(served.versions[1])
    assert len(told()) == 1
    assert served.stable == served.versions[1]


def test_start_paused_canary_is_told_with_the_command_that_lets_it_go_on(served: World) -> None:
    canary = "taxi-serving-canary"

    def pause() -> None:
        live = served.deployment(canary)
        if live and not live["spec"].get("paused"):
            served.api.objects.edit("Deployment", "slipway-staging", canary, "kubectl-rollout", paused=True)

    served.api.fates[canary] = "stall"
    served.on_pause = pause
    fails(
        served,
        served.versions[1],
        f"is paused; .*kubectl --namespace {NAMESPACE} rollout resume deployment/{canary}",
    )
    assert served.store.stage("taxi", served.versions[1]) == "retired"


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
    (pod,) = [each for each in served.api.objects.list("Pod") if "canary" not in each["metadata"]["name"]]
    name = pod["metadata"]["name"]
    served.policy = served.policy.model_copy(update={"traffic_seconds": 5})

    served.api.before = {f"pods/{name}:8501/proxy": lambda: served.api.objects.delete("Pod", "slipway-staging", name)}
    served.start(served.versions[1])
    assert served.stable == served.versions[1]
