"""Deployments and pods as a rollout sees them: which version they serve, whether they are ready, why they are not."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from serving.manifests import SERVER, VERSION
from serving.rollout.cluster import Cluster, Object

REST_PORT = "rest"
_LOG_LINES = 20
# A first failed pull or start may heal by itself; these are what the kubelet calls it when it backs off.
_NOT_THE_MODEL = {
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
_CRASHED = "CrashLoopBackOff"


@dataclass(frozen=True)
class Failure:
    """Why pods are not, or must not be, in production; `blames_model` tells the model's fault from the cluster's."""

    reason: str
    blames_model: bool


def served_version(deployment: Object) -> int:
    """The version that a Deployment's template serves."""
    return int(deployment["spec"]["template"]["metadata"]["labels"][VERSION])


def rest_port(deployment: Object) -> int:
    """The port that answers REST in a Deployment's pods."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    ports = [port for container in containers for port in container.get("ports", [])]
    return next(int(port["containerPort"]) for port in ports if port.get("name") == REST_PORT)


def pods_of(cluster: Cluster, deployment: Object) -> list[Object]:
    """Pods of the version that a Deployment's template serves, without those on their way out."""
    labels = deployment["spec"]["selector"]["matchLabels"] | {VERSION: str(served_version(deployment))}
    return [pod for pod in cluster.list("Pod", labels) if "deletionTimestamp" not in pod["metadata"]]


def ready_pods(cluster: Cluster, deployment: Object) -> list[Object]:
    """Those of them that get traffic."""
    return [pod for pod in pods_of(cluster, deployment) if _condition(pod, "Ready").get("status") == "True"]


def wait_ready(
    cluster: Cluster, name: str, seconds: float, pause: Callable[[float], None], old: Collection[str] = ()
) -> Failure | None:
    """Waits until all of a Deployment's pods are new and available.

    Args:
        cluster: Where it is.
        name: The Deployment's.
        seconds: How long.
        pause: Sleeps.
        old: Names of pods that serve the same version and are being replaced: what is wrong with them does not count.

    Returns:
        None when they are; else why they will not be: at once where waiting cannot help.
    """
    deadline = time.monotonic() + seconds
    while True:
        deployment = cluster.get("Deployment", name)
        if deployment is None:
            return Failure(f"Deployment {name} was deleted by somebody", blames_model=False)
        # Before the controller has seen the change, status and conditions tell of what was before it.
        seen = deployment.get("status", {}).get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        if seen and _complete(deployment):
            return None
        pods = [pod for pod in pods_of(cluster, deployment) if pod["metadata"]["name"] not in old] if seen else []
        failure = next(_broken(cluster, pods), None) or (_refused(deployment) if seen else None)
        if failure:
            return failure
        if time.monotonic() > deadline:
            return Failure(_timed_out(name, seconds, deployment, pods, seen=seen), blames_model=False)
        pause(1.0)


def _complete(deployment: Object) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    return all(status.get(key, 0) == wanted for key in ("updatedReplicas", "replicas", "availableReplicas"))


def _broken(cluster: Cluster, pods: list[Object]) -> Iterator[Failure]:
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", []):
            waiting = container.get("state", {}).get("waiting", {})
            name, container_name = pod["metadata"]["name"], container["name"]
            what = f"container {container_name} of pod {name}: {waiting.get('reason')}"
            if waiting.get("reason") in _NOT_THE_MODEL:
                yield Failure(f"{what}: {waiting.get('message', '')}", blames_model=False)
            elif waiting.get("reason") == _CRASHED:
                last = container.get("lastState", {}).get("terminated", {})
                ended = f"exit code {last.get('exitCode')} {last.get('reason', '')}".strip()
                said = cluster.logs(name, container_name, previous=True, lines=_LOG_LINES).strip()
                reason = f"{what} after {container.get('restartCount', 0)} restarts, {ended}; its last lines:\n{said}"
                yield Failure(reason, blames_model=container_name == SERVER)


def _refused(deployment: Object) -> Failure | None:
    """What the Deployment's controller gave up on."""
    name = deployment["metadata"]["name"]
    failed, progress = _condition(deployment, "ReplicaFailure"), _condition(deployment, "Progressing")
    if failed.get("status") == "True":
        return Failure(f"Deployment {name} cannot make pods: {failed.get('message')}", blames_model=False)
    if progress.get("status") == "False":
        return Failure(f"Deployment {name}: {progress.get('reason')}: {progress.get('message')}", blames_model=False)
    return None


def _timed_out(name: str, seconds: float, deployment: Object, pods: list[Object], *, seen: bool) -> str:
    if not seen:
        return f"Deployment {name}: no controller looked at the change in {seconds:g} s; is the control plane well?"
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    counts = f"{status.get('updatedReplicas', 0)} new, {status.get('availableReplicas', 0)} available of {wanted}"
    states = "; ".join(f"pod {pod['metadata']['name']} {_describe(pod)}" for pod in pods) or "no pods"
    return f"Deployment {name} is not ready after {seconds:g} s: {counts}; {states}"


def _describe(pod: Object) -> str:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"is not scheduled: {scheduled.get('message')}"
    states = [container.get("state", {}) for container in pod.get("status", {}).get("containerStatuses", [])]
    waiting = [state["waiting"].get("reason", "") for state in states if "waiting" in state]
    return f"is {pod.get('status', {}).get('phase', 'new')}{''.join(f', {reason}' for reason in waiting)}, not ready"


def _condition(each: Object, kind: str) -> Object:
    conditions = each.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == kind), {})
