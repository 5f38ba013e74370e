"""The Job controller, of indexed Jobs whose pods are never started again.

After pkg/controller/job of Kubernetes 1.36 (job_controller.go, indexed_job_utils.go): a pod for each index, whose host
is called JOB-INDEX; one that fails where `backoffLimit` is 0 fails the Job, and those that run or wait are deleted. So
does the end of `activeDeadlineSeconds`, counted from the first look at a Job, whether pods run or not (syncJob,
pastActiveDeadline). An ended Job is deleted after `ttlSecondsAfterFinished` (pkg/controller/ttlafterfinished).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from tests.fakes.kubernetes.objects import CONTROLLER, Object, Objects, owned_by

INDEX = "batch.kubernetes.io/job-completion-index"
# What becomes of a worker's pod: one of the states below, or the text with which its container ends with exit code 1.
Fates = Callable[[str, int], str]
_BEGIN = datetime.fromisoformat("2026-01-01T00:00:00Z")
_SCHEDULED = {"type": "PodScheduled", "status": "True"}
_UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient cpu.",
}
_EVICTED = {
    "phase": "Failed",
    "reason": "Evicted",
    "message": "The node was low on resource: memory.",
    "conditions": [_SCHEDULED],
}


def reconcile(objects: Objects, fate: Fates, seconds: float) -> None:
    """One pass over all Jobs at a time, in seconds since the cluster began."""
    for job in objects.list("Job"):
        namespace, name, spec = job["metadata"]["namespace"], job["metadata"]["name"], job["spec"]
        status = job.setdefault("status", {})
        if ended := next(iter(status.get("conditions", [])), None):
            if _passed(ended["lastTransitionTime"], seconds) >= spec.get("ttlSecondsAfterFinished", float("inf")):
                objects.delete("Job", namespace, name)
            continue
        if "startTime" not in status:
            status["startTime"] = _time(seconds)
            objects.set_status("Job", namespace, name, status)
        _reconcile(objects, job, fate, seconds)


def _reconcile(objects: Objects, job: Object, fate: Fates, seconds: float) -> None:
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    pods = {int(pod["metadata"]["annotations"][INDEX]): pod for pod in owned_by(objects, "Pod", job)}
    lost = False
    for index in range(job["spec"]["completions"]):
        becomes = fate(name, index)
        if becomes == "no quota":
            continue
        if becomes == "deleted":
            lost = True
            if index in pods:
                objects.delete("Pod", namespace, pods.pop(index)["metadata"]["name"])
            continue
        if index not in pods:
            pods[index] = objects.create(_pod(job, index, objects.version), CONTROLLER)
        status = _status(pods[index], becomes)
        objects.set_status("Pod", namespace, pods[index]["metadata"]["name"], status)
        pods[index]["status"] = status
    phases = [pod["status"]["phase"] for pod in pods.values()]
    late = _passed(job["status"]["startTime"], seconds) >= job["spec"].get("activeDeadlineSeconds", float("inf"))
    failed = lost or "Failed" in phases
    if failed or late:
        for pod in pods.values():
            if pod["status"]["phase"] in ("Pending", "Running"):
                objects.delete("Pod", namespace, pod["metadata"]["name"])
    if failed:
        _end(objects, job, seconds, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    elif late:
        _end(objects, job, seconds, "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    elif phases == ["Succeeded"] * job["spec"]["completions"]:
        _end(objects, job, seconds, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")


def _end(objects: Objects, job: Object, seconds: float, kind: str, reason: str, message: str) -> None:
    condition = {"type": kind, "status": "True", "reason": reason, "message": message}
    condition["lastTransitionTime"] = _time(seconds)
    status = job["status"] | {"conditions": [condition]}
    objects.set_status("Job", job["metadata"]["namespace"], job["metadata"]["name"], status)


def _time(seconds: float) -> str:
    return (_BEGIN + timedelta(seconds=seconds)).isoformat()


def _passed(since: str, seconds: float) -> float:
    return (_BEGIN + timedelta(seconds=seconds) - datetime.fromisoformat(since)).total_seconds()


def _pod(job: Object, index: int, version: int) -> Object:
    metadata, template = job["metadata"], job["spec"]["template"]
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-{index}-{version}",
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"] | {INDEX: str(index)},
            "annotations": {INDEX: str(index)},
            "ownerReferences": [owner],
        },
        "spec": template["spec"] | {"hostname": f"{metadata['name']}-{index}"},
    }


def _status(pod: Object, becomes: str) -> Object:
    ended = {"succeeded": (0, "Completed", ""), "oom": (137, "OOMKilled", ""), "killed": (137, "Error", ""),
             "lost another": (75, "Error", "worker 1 lost another one")}  # fmt: skip
    if becomes == "running":
        return {"phase": "Running", "conditions": [_SCHEDULED], "containerStatuses": [_container(pod, {"running": {}})]}
    if becomes == "unschedulable":
        return {"phase": "Pending", "conditions": [_UNSCHEDULABLE]}
    if becomes == "no image":
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
        return {"phase": "Pending", "conditions": [_SCHEDULED], "containerStatuses": [_container(pod, waiting)]}
    if becomes == "evicted":
        return dict(_EVICTED)
    code, reason, message = ended.get(becomes, (1, "Error", becomes))
    state = {"terminated": {"exitCode": code, "reason": reason} | ({"message": message} if message else {})}
    phase = "Failed" if code else "Succeeded"
    return {"phase": phase, "conditions": [_SCHEDULED], "containerStatuses": [_container(pod, state)]}


def _container(pod: Object, state: Object) -> Object:
    its = pod["spec"]["containers"][0]
    return {
        "name": its["name"],
        "image": its["image"],
        "imageID": "",
        "restartCount": 0,
        "ready": False,
        "state": state,
    }
