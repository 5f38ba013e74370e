"""The pods of a Deployment: which there are, whether they are ready, and why not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from serving.manifests import SERVER, VERSION, Object
from serving.rollout.blame import cause_in_log, cause_of_end
from serving.rollout.cluster import Cluster

# Reasons of a kubelet that backs off; a first failed pull or start may heal by itself.
_NOT_THE_MODEL = {
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
_CRASHED = "CrashLoopBackOff"
_TEMPLATE_HASH = "pod-template-hash"


class Failure(NamedTuple):
    """Why pods are not ready, or must not serve; `blames_model` tells a fault of the model from one of the cluster."""

    reason: str
    blames_model: bool


class Past(NamedTuple):
    """Problems before a change, which are not due to it: conditions of the Deployment and its ReplicaSet; restarts."""

    conditions: list[Object]
    restarts: dict[tuple[str, str], int]


def served_version(deployment: Object) -> int:
    """The version in a Deployment's template."""
    return int(deployment["spec"]["template"]["metadata"]["labels"][VERSION])


def rest_port(deployment: Object) -> int:
    """The REST port of a Deployment's pods."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    ports = [port for container in containers for port in container.get("ports", [])]
    return next(int(port["containerPort"]) for port in ports if port.get("name") == "rest")


def pods_of(cluster: Cluster, deployment: Object) -> list[Object]:
    """Pods of a Deployment's current template; during a change there are pods of older templates, too."""
    return _pods_in(cluster, _replica_set_of(cluster, deployment))


def serving_pods(cluster: Cluster, deployment: Object) -> list[Object]:
    """Pods that serve a Deployment's version, of any template: all that users may reach."""
    version = str(served_version(deployment))
    return [pod for pod in living_pods(cluster, deployment) if pod["metadata"]["labels"].get(VERSION) == version]


def living_pods(cluster: Cluster, owner: Object) -> list[Object]:
    """Pods that a Deployment or ReplicaSet selects, without those being deleted."""
    pods = cluster.list("Pod", owner["spec"]["selector"]["matchLabels"])
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def ready(pods: list[Object]) -> list[Object]:
    """The pods that get traffic."""
    return [pod for pod in pods if _condition(pod, "Ready").get("status") == "True"]


def restarts(pods: list[Object]) -> dict[tuple[str, str], int]:
    """Restarts of containers, by pod and name."""
    return {
        (pod["metadata"]["name"], one["name"]): one.get("restartCount", 0) for pod in pods for one in _containers(pod)
    }


def repeated_crash(cluster: Cluster, pods: list[Object], past: Past, *, had_served: bool = False) -> Failure | None:
    """The failure of a container that ended at least twice, and again since `past`; None if there is none.

    `had_served` says that the pods were ready before; then only the model server counts.
    """
    for pod, container in [(each, container) for each in pods for container in _containers(each)]:
        name, container_name, count = pod["metadata"]["name"], container["name"], container.get("restartCount", 0)
        if had_served and container_name != SERVER:
            continue
        before = past.restarts.get((name, container_name))
        waits = container.get("state", {}).get("waiting", {}).get("reason") == _CRASHED
        # The kubelet restarts a container once before it backs off.
        if not (waits and (before is None or count > before)) and not (had_served and count - (before or 0) > 1):
            continue
        last = container.get("lastState", {}).get("terminated", {})
        said = cluster.log(name, container_name, previous=True)
        why, blames_model = cause_of_end(last, said, had_served=had_served)
        state = f"{_CRASHED} after {count} restarts" if waits else f"ended {count - (before or 0)} times"
        what = f"container {container_name} of pod {name}: {state}, {_ended(last)}"
        reason = f"{what}{why and f': {why}'}; its last lines:\n{said}"
        return Failure(reason, blames_model and container_name == SERVER)
    return None


def server_ended(pod: Object, past: Past) -> bool:
    """Whether a pod's model server ended since `past`; it may have started again."""
    before = past.restarts.get((pod["metadata"]["name"], SERVER), 0)
    return any("terminated" in one.get("state", {}) or one.get("restartCount", 0) > before for one in _servers(pod))


def last_end(pod: Object) -> str:
    """How a pod's model server ended last."""
    ends = [one.get(key, {}).get("terminated") for one in _servers(pod) for key in ("state", "lastState")]
    return next((_ended(one) for one in ends if one), "its status does not say how")


def past_of(cluster: Cluster, name: str) -> Past:
    """The problems of a Deployment now."""
    deployment = cluster.get("Deployment", name)
    if deployment is None:
        return Past([], {})
    current = _replica_set_of(cluster, deployment)
    return Past(_conditions(deployment) + _conditions(current or {}), restarts(_pods_in(cluster, current)))


def wait_ready(
    cluster: Cluster,
    name: str,
    seconds: float,
    pause: Callable[[float], None],
    past: Past,
    say: Callable[[str], None],
) -> Failure | None:
    """Waits until all of a Deployment's pods are new and available; says once what their servers' logs name meanwhile.

    Returns:
        None when they are; otherwise the reason, at once if waiting cannot help, or after so many seconds.
    """
    deadline = time.monotonic() + seconds
    told = {""}
    while True:
        deployment = cluster.get("Deployment", name)
        if deployment is None:
            return Failure(f"Deployment {name} was deleted by somebody", blames_model=False)
        status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
        counts = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
        # Until the controller has seen the change, status and conditions are those before it.
        seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        if seen and counts == [wanted] * 3:
            return None
        current = _replica_set_of(cluster, deployment)
        pods = _pods_in(cluster, current)
        if failure := next(_broken(pods), None) or repeated_crash(cluster, pods, past):
            return failure
        if deployment["spec"].get("paused"):
            reason = f"is paused; let it go on: {cluster.kubectl} rollout resume deployment/{name}"
            return Failure(f"Deployment {name} {reason}", blames_model=False)
        if seen and (refused := _refused(deployment, current, past)):
            advice = cluster.advice(refused)
            return _unready(cluster, f"Deployment {name}: {refused}{advice and f'; {advice}'}", pods)
        if time.monotonic() > deadline:
            if not seen:
                reason = f"no controller looked at the change in {seconds:g} s; is the control plane well?"
                return Failure(f"Deployment {name}: {reason}", blames_model=False)
            said = [str(one.get("message")) for one in _conditions(deployment) if _is_failure(one)]
            reason = f"is not ready after {seconds:g} s: {counts[0]} new, {counts[2]} available of {wanted}"
            return _unready(cluster, "; ".join([f"Deployment {name} {reason}", *said]), pods)
        if (why := cause_in_log(_waiting_log(cluster, pods)).why) not in told:
            told.add(why)
            say(f"Deployment {name} is not ready yet: {why}; waiting {seconds:g} s in all, for it may try again")
        pause(1.0)


def _replica_set_of(cluster: Cluster, deployment: Object) -> Object | None:
    """The ReplicaSet of a Deployment's current template; None if the controller has not made it yet.

    Found as the controller finds it (FindNewReplicaSet in pkg/controller/deployment/util/deployment_util.go).
    """
    found = cluster.list("ReplicaSet", deployment["spec"]["selector"]["matchLabels"])
    same = [each for each in found if _owns(deployment, each) and _template(each) == _template(deployment)]
    return min(same, key=lambda each: str(each["metadata"]["creationTimestamp"]), default=None)


def _pods_in(cluster: Cluster, current: Object | None) -> list[Object]:
    return [pod for pod in living_pods(cluster, current) if _owns(current, pod)] if current else []


def _broken(pods: list[Object]) -> Iterator[Failure]:
    for pod, container in [(each, container) for each in pods for container in _containers(each)]:
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _NOT_THE_MODEL:
            what = f"container {container['name']} of pod {pod['metadata']['name']}: {waiting['reason']}"
            yield Failure(f"{what}: {waiting.get('message', '')}", blames_model=False)


def _unready(cluster: Cluster, reason: str, pods: list[Object]) -> Failure:
    """Why pods are not ready in time: their states, and what their servers say meanwhile."""
    told = (
        [reason, *(f"pod {pod['metadata']['name']} {_describe(pod)}" for pod in pods)] if pods else [reason, "no pods"]
    )
    if said := _waiting_log(cluster, pods):
        why, blames_model = cause_in_log(said)
        return Failure(f"{'; '.join(told)}{why and f': {why}'}; its last lines:\n{said}", blames_model)
    return Failure("; ".join(told), blames_model=False)


def _waiting_log(cluster: Cluster, pods: list[Object]) -> str:
    """The last lines of the first server that runs and is not ready; empty without one."""
    names = (pod["metadata"]["name"] for pod in pods if not ready([pod]) and _runs(pod))
    return next((said for name in names if (said := cluster.log(name, SERVER))), "")


def _runs(pod: Object) -> bool:
    return any("running" in one.get("state", {}) for one in _servers(pod))


def _refused(deployment: Object, current: Object | None, past: Past) -> str:
    """A failure that controllers have reported since the change, for its ReplicaSet; empty without one.

    The Deployment repeats an old ReplicaSet's failure as well (getReplicaFailures in pkg/controller/deployment/
    progress.go), and keeps an old `Progressing` while it is only scaled; but that names its ReplicaSet.
    """
    own = f'ReplicaSet "{current["metadata"]["name"]}"' if current else "none yet"
    for one in [*_conditions(current or {}), _condition(deployment, "Progressing")]:
        message = str(one.get("message"))
        is_anothers = message.startswith('ReplicaSet "') and not message.startswith(own)
        if _is_failure(one) and one not in past.conditions and not is_anothers:
            return f"{one.get('reason')}: {message}"
    return ""


def _describe(pod: Object) -> str:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"is not scheduled: {scheduled.get('message')}"
    status = pod.get("status", {})
    if status.get("phase") == "Failed":  # by the node: evicted, preempted, shut down
        return f"has failed: {status.get('reason', '')}, {status.get('message', '')}"
    states = [container.get("state", {}) for container in _containers(pod)]
    waiting = [state["waiting"].get("reason", "") for state in states if "waiting" in state]
    return f"is {status.get('phase', 'new')}{''.join(f', {reason}' for reason in waiting)}, not ready"


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _servers(pod: Object) -> list[Object]:
    return [one for one in _containers(pod) if one["name"] == SERVER]


def _ended(terminated: Object) -> str:
    return f"exit code {terminated.get('exitCode')} {terminated.get('reason', '')}".strip()


def _condition(each: Object, kind: str) -> Object:
    return next((one for one in _conditions(each) if one["type"] == kind), {})


def _conditions(each: Object) -> list[Object]:
    return list(each.get("status", {}).get("conditions", []))


def _is_failure(condition: Object) -> bool:
    return (condition.get("type"), condition.get("status")) in {("ReplicaFailure", "True"), ("Progressing", "False")}


def _owns(owner: Object, each: Object) -> bool:
    return any(one["uid"] == owner["metadata"]["uid"] for one in each["metadata"].get("ownerReferences", []))


def _template(owner: Object) -> Object:
    template = owner["spec"]["template"]
    labels = {key: value for key, value in template["metadata"]["labels"].items() if key != _TEMPLATE_HASH}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}
