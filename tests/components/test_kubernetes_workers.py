"""The workers' Job and Service, against the fake API server, with the rights of the manifests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.train_model.kubernetes_workers import KubernetesWorkers
from components.train_model.together import WorkerLostError
from slipway.errors import ClusterError, TrainingError
from tests.fakes.kubernetes.server import KubernetesApi

MANIFESTS = Path(__file__).parents[2] / "manifests" / "pipeline-account"
NAMESPACE, POD = "kubeflow", "training-x7k2p-system-container-impl-123"
IMAGE = "registry.example.com/slipway@sha256:" + "0" * 64
INPUTS = "gs://bucket/checkpoints/abc/inputs.json"
KEY = {"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "AWS_ACCESS_KEY_ID"}}}
LOGIN = {"name": "s3", "mountPath": "/etc/slipway-s3"}
RESOURCES = {"requests": {"cpu": "4"}, "limits": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}}


def own_pod() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": NAMESPACE},
        "spec": {
            "serviceAccountName": "slipway-pipeline-staging",
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "containers": [
                {"name": "wait", "image": "argoexec"},
                {
                    "name": "main",
                    "image": IMAGE,
                    "resources": RESOURCES,
                    "env": [{"name": "SECRET", "value": "x"}, KEY],
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, LOGIN],
                },
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "s3", "secret": {"secretName": "s3"}}],
        },
    }


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    role = yaml.safe_load((MANIFESTS / "workers" / "role.yaml").read_text())
    with KubernetesApi(lambda pod: "", role) as opened:
        opened.objects.create(own_pod(), "argo")
        opened.objects.set_status("Pod", NAMESPACE, POD, {"phase": "Running", "podIP": "10.1.2.3"})
        monkeypatch.setenv("KUBECONFIG", str(opened.write_kubeconfig(tmp_path / "kubeconfig")))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        yield opened


def workers(count: int = 3, attempt: int = 1, start_seconds: float = 300.0) -> KubernetesWorkers:
    return KubernetesWorkers(
        INPUTS,
        count,
        attempt,
        pod=POD,
        namespace=NAMESPACE,
        pause=lambda seconds: time.sleep(0.02),
        start_seconds=start_seconds,
    )


def left(api: KubernetesApi) -> list[str]:
    return [each["metadata"]["name"] for kind in ("Job", "Service") for each in api.objects.list(kind)]


def assert_nothing_left(api: KubernetesApi) -> None:
    """Once the garbage collector has looked."""
    until = time.monotonic() + 5
    while (left(api) or len(api.objects.list("Pod")) > api.objects.has("Pod", NAMESPACE, POD)) and (
        time.monotonic() < until
    ):
        time.sleep(0.02)
    assert not left(api)
    assert len(api.objects.list("Pod")) == api.objects.has("Pod", NAMESPACE, POD)


def becomes(api: KubernetesApi, fate: str, index: int = 1) -> None:
    api.controller.worker_fates = lambda job, its: fate if its == index else "running"


def check_until_raised(others: KubernetesWorkers, seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        others.check()
        time.sleep(0.02)


def test_workers_are_like_the_steps_pod_and_know_each_other(api: KubernetesApi) -> None:
    with workers() as others:
        others.check()
        [job], [service] = api.objects.list("Job"), api.objects.list("Service")
        pods = [pod for pod in api.objects.list("Pod") if pod["metadata"]["name"] != POD]
        uid = api.objects.get("Pod", NAMESPACE, POD)["metadata"]["uid"]
    name = job["metadata"]["name"]
    assert others.hosts == ["10.1.2.3:2222", f"{name}-0.{name}:2222", f"{name}-1.{name}:2222"]
    # What DNS answers by: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
    assert [pod["spec"]["hostname"] for pod in pods] == [f"{name}-0", f"{name}-1"]
    assert {pod["spec"]["subdomain"] for pod in pods} == {service["metadata"]["name"]} == {name}
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pods[0]["metadata"]["labels"].items()
    assert pods[0]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    [container] = pods[0]["spec"]["containers"]
    assert (container["image"], container["resources"]) == (IMAGE, RESOURCES)
    assert container["command"][-2:] == [INPUTS, json.dumps(others.hosts)]
    assert container["env"] == [KEY], "the login to S3 by reference, and no value"
    assert container["volumeMounts"] == [LOGIN]
    assert pods[0]["spec"]["volumes"] == [{"name": "s3", "secret": {"secretName": "s3"}}]
    assert pods[0]["spec"]["serviceAccountName"] == "slipway-pipeline-staging"
    assert pods[0]["spec"]["automountServiceAccountToken"] is False, "a worker asks nothing of the cluster"
    assert pods[0]["spec"]["tolerations"] == own_pod()["spec"]["tolerations"]
    [of_job], [of_service] = (each["metadata"]["ownerReferences"] for each in (job, service))
    assert of_job == {"apiVersion": "v1", "kind": "Pod", "name": POD, "uid": uid}
    assert of_service == {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
    assert job["spec"]["backoffLimit"] == 0
    assert_nothing_left(api)


def test_role_grants_what_is_used_and_no_more(api: KubernetesApi) -> None:
    with workers() as others:
        becomes(api, "")  # exit code 1 without a message: its log is read
        with pytest.raises(TrainingError):
            check_until_raised(others)
    rules = yaml.safe_load((MANIFESTS / "workers" / "role.yaml").read_text())["rules"]
    granted = {
        (verb, group, resource)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert api.asked == granted


@pytest.mark.parametrize("missing", [("create", "jobs"), ("create", "services"), ("list", "pods")])
def test_missing_right_names_the_manifests_and_leaves_nothing(api: KubernetesApi, missing: tuple[str, str]) -> None:
    api.forbid(*missing)
    with pytest.raises(ClusterError, match="manifests/pipeline-account/workers"), workers():
        pass
    assert_nothing_left(api)


@pytest.mark.parametrize(
    ("fate", "error", "said"),
    [
        ("evicted", WorkerLostError, "worker 2 .*Evicted.*low on resource"),
        ("killed", WorkerLostError, "worker 2 .*exit code 137"),
        ("deleted", WorkerLostError, "backoff limit"),
        ("lost another", WorkerLostError, "backoff limit"),
        ("oom", TrainingError, "worker 2 .*want of memory: raise compute.train_model.memory"),
        ("model.py: no layer", TrainingError, "worker 2 .*model.py: no layer"),
    ],
)
def test_lost_worker_is_told_from_one_that_failed(
    api: KubernetesApi, fate: str, error: type[Exception], said: str
) -> None:
    with workers() as others:
        becomes(api, fate)
        with pytest.raises(error, match=said) as caught:
            check_until_raised(others)
    assert isinstance(caught.value, WorkerLostError) == (error is WorkerLostError)
    assert_nothing_left(api)


@pytest.mark.parametrize(
    ("fate", "said"),
    [
        ("unschedulable", "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu"),
        ("no image", "ImagePullBackOff"),
        ("no quota", "1 of 2 pods were created"),
    ],
)
def test_job_that_does_not_start_ends_with_the_reason(api: KubernetesApi, fate: str, said: str) -> None:
    becomes(api, fate)
    with pytest.raises(TrainingError, match=f"did not start within 30 s: .*{said}"), workers(start_seconds=30.0):
        pass
    assert_nothing_left(api)


def test_worker_that_is_lost_while_others_wait_for_a_node_ends_the_wait(api: KubernetesApi) -> None:
    api.controller.worker_fates = lambda job, index: "evicted" if index else "unschedulable"
    with pytest.raises(WorkerLostError, match="Evicted"), workers():
        pass


def test_objects_go_with_the_steps_pod(api: KubernetesApi) -> None:
    """A step that is killed removes nothing; Kubernetes does, once the pod is gone."""
    with ExitStack() as killed:
        killed.enter_context(workers())
        assert len(left(api)) == 2
        api.objects.delete("Pod", NAMESPACE, POD)
        assert_nothing_left(api)


class Killed(BaseException):
    pass


def killed_while_pods_wait(api: KubernetesApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's process that is gone, and removes nothing; its pod stays: Argo keeps it for its log."""

    def die(seconds: float) -> None:
        raise Killed

    monkeypatch.setattr(KubernetesWorkers, "_remove", lambda _: None)
    becomes(api, "unschedulable")
    others = workers()
    others._pause = die
    with pytest.raises(Killed), others:
        pass
    assert len(left(api)) == 2


def test_job_whose_step_was_killed_while_it_waited_goes_by_itself(
    api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_while_pods_wait(api, monkeypatch)
    [job] = api.objects.list("Job")
    until = time.monotonic() + 5
    while "conditions" not in job["status"] and time.monotonic() < until:
        api.controller.seconds = job["spec"]["activeDeadlineSeconds"]
        time.sleep(0.02)
        [job] = api.objects.list("Job")
    assert job["status"]["conditions"][0]["reason"] == "DeadlineExceeded"
    assert [pod["metadata"]["name"] for pod in api.objects.list("Pod")] == [POD], "no pod waits for a node any more"
    api.controller.seconds += job["spec"]["ttlSecondsAfterFinished"]
    assert_nothing_left(api)


def test_job_whose_pods_run_trains_without_a_deadline(api: KubernetesApi) -> None:
    with workers() as others:
        [job] = api.objects.list("Job")
        assert "activeDeadlineSeconds" not in job["spec"]
        api.controller.seconds = 30 * 24 * 3600.0
        api.controller.look()
        others.check()
        assert len(left(api)) == 2
    assert_nothing_left(api)


def test_deadline_is_lifted_though_the_status_changes_meanwhile(api: KubernetesApi) -> None:
    api.fail("PUT /apis/batch/v1", 409)
    with workers():
        [job] = api.objects.list("Job")
        assert "activeDeadlineSeconds" not in job["spec"]


def test_ended_job_of_a_step_that_was_killed_goes_by_itself(
    api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers lose the chief, and end."""
    monkeypatch.setattr(KubernetesWorkers, "_remove", lambda _: None)
    with workers():
        [job] = api.objects.list("Job")
    becomes(api, "lost another")
    api.controller.look()
    assert len(left(api)) == 2
    api.controller.seconds += job["spec"]["ttlSecondsAfterFinished"]
    assert_nothing_left(api)


def test_request_whose_answer_is_lost_makes_one_job(api: KubernetesApi) -> None:
    api.fail("POST /apis/batch/v1", 504, after=True)
    api.fail("POST /api/v1", 504, after=True)
    with workers() as others:
        others.check()
        assert len(left(api)) == 2
    assert_nothing_left(api)


def test_job_deleted_by_somebody_is_a_loss(api: KubernetesApi) -> None:
    with workers() as others:
        [name, _] = left(api)
        api.objects.delete("Job", NAMESPACE, name)
        with pytest.raises(WorkerLostError, match="somebody deleted it"):
            others.check()


def test_api_server_that_is_down_ends_no_training(api: KubernetesApi, caplog: pytest.LogCaptureFixture) -> None:
    with workers() as others:
        api.go_down()
        others.check()
        assert "are not watched" in caplog.text
    assert "stays until it has ended, or this pod is gone" in caplog.text
    api.come_up()
    assert len(left(api)) == 2


def test_steps_pod_of_another_address_family(api: KubernetesApi) -> None:
    api.objects.set_status("Pod", NAMESPACE, POD, {"phase": "Running", "podIP": "fd00::7"})
    with workers() as others:
        assert others.hosts[0] == "[fd00::7]:2222"
