"""Waits for a Deployment's pods after a change: whether they are ready, and why not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from serving.manifests import FETCHER, SERVER, Object
from serving.rollout.blame import cause_in_log
from serving.rollout.cluster import Cluster
from serving.rollout.crashes import Ends
from serving.rollout.pods import (
    Failure,
    condition,
    conditions,
    containers,
    pods_in,
    ready,
    replica_set_of,
    servers,
)

# Reasons of a kubelet that backs off; a first failed pull or start may heal by itself.
_NOT_THE_MODEL = {
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
# A pod that writes more than it may is evicted, as each that replaces it is (pkg/kubelet/eviction/helpers.go).
_TOO_LARGE = re.compile(
    r"Usage of EmptyDir volume .* exceeds the limit|exceeded its local ephemeral storage limit"
    r"|ephemeral local storage usage exceeds the total limit"
)
_COUNTS = ("updatedReplicas", "replicas", "availableReplicas")


class Past(NamedTuple):
    """Problems before a change, not due to it: conditions of Deployment and ReplicaSet; ends; evicted pods."""

    conditions: list[Object]
    ends: Ends
    evicted: set[str]


def past_of(cluster: Cluster, name: str) -> Past:
    """The problems of a Deployment now."""
    deployment = cluster.get("Deployment", name)
    if deployment is None:
        return Past([], Ends([]), set())
    current = replica_set_of(cluster, deployment)
    pods = pods_in(cluster, current)
    evicted = {pod["metadata"]["name"] for pod in pods if _has_failed(pod)}
    return Past(conditions(deployment) + conditions(current or {}), Ends(pods), evicted)


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
        if _is_complete(deployment):
            return None
        current = replica_set_of(cluster, deployment)
        pods = pods_in(cluster, current)
        if failure := _hopeless(cluster, deployment, current, pods, past):
            return failure
        if time.monotonic() > deadline:
            return _late(cluster, deployment, pods, seconds)
        if (why := _fetch_error(pods) or cause_in_log(_waiting_log(cluster, pods)).why) not in told:
            told.add(why)
            say(f"Deployment {name} is not ready yet: {why}; waiting {seconds:g} s in all, for it may try again")
        pause(1.0)


def _is_seen(deployment: Object) -> bool:
    """Whether the controller has seen the last change; until then, status and conditions are those before it."""
    return bool(deployment.get("status", {}).get("observedGeneration", 0) >= deployment["metadata"]["generation"])


def _is_complete(deployment: Object) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    return _is_seen(deployment) and all(status.get(key, 0) == wanted for key in _COUNTS)


def _hopeless(
    cluster: Cluster, deployment: Object, current: Object | None, pods: list[Object], past: Past
) -> Failure | None:
    """Why waiting cannot help; None if it may."""
    name = deployment["metadata"]["name"]
    new = [pod for pod in pods if pod["metadata"]["name"] not in past.evicted]
    if failure := next(_broken(new), None) or past.ends.repeated_crash(cluster, pods):
        return failure
    if deployment["spec"].get("paused"):
        reason = f"is paused; let it go on: {cluster.kubectl} rollout resume deployment/{name}"
        return Failure(f"Deployment {name} {reason}", blames_model=False)
    if _is_seen(deployment) and (refused := _refused(deployment, current, past)):
        advice = cluster.advice(refused)
        return _unready(cluster, f"Deployment {name}: {refused}{advice and f'; {advice}'}", pods)
    return None


def _late(cluster: Cluster, deployment: Object, pods: list[Object], seconds: float) -> Failure:
    """Why the pods are not ready after so many seconds."""
    name = deployment["metadata"]["name"]
    if not _is_seen(deployment):
        reason = f"no controller looked at the change in {seconds:g} s; is the control plane well?"
        return Failure(f"Deployment {name}: {reason}", blames_model=False)
    updated, _, available = (deployment["status"].get(key, 0) for key in _COUNTS)
    wanted = deployment["spec"].get("replicas", 1)
    reason = f"is not ready after {seconds:g} s: {updated} new, {available} available of {wanted}"
    said = [str(one.get("message")) for one in conditions(deployment) if _is_failure(one)]
    return _unready(cluster, "; ".join([f"Deployment {name} {reason}", *said]), pods)


def _broken(pods: list[Object]) -> Iterator[Failure]:
    for pod, container in [(each, container) for each in pods for container in containers(each)]:
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _NOT_THE_MODEL:
            what = f"container {container['name']} of pod {pod['metadata']['name']}: {waiting['reason']}"
            yield Failure(f"{what}: {waiting.get('message', '')}", blames_model=False)
    for pod in pods:
        if _has_failed(pod) and _TOO_LARGE.search(pod["status"].get("message", "")):
            what = f"pod {pod['metadata']['name']} {_describe(pod).strip()}"
            yield Failure(f"{what} Raise its limit (sizeLimit of a volume) in the overlay", blames_model=False)


def _unready(cluster: Cluster, reason: str, pods: list[Object]) -> Failure:
    """Why pods are not ready: their states, and what their servers say meanwhile."""
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


def _fetch_error(pods: list[Object]) -> str:
    """What a container that fetches the version ended of, and will be started again after; empty if none did."""
    fetchers = [one for pod in pods for one in containers(pod) if one["name"] == FETCHER]
    ends = [one.get(key, {}).get("terminated", {}) for one in fetchers for key in ("state", "lastState")]
    return next((its["message"].strip() for its in ends if its.get("exitCode") and its.get("message")), "")


def _has_failed(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Failed")


def _runs(pod: Object) -> bool:
    return any("running" in one.get("state", {}) for one in servers(pod))


def _refused(deployment: Object, current: Object | None, past: Past) -> str:
    """A failure that controllers have reported since the change, for its ReplicaSet; empty without one.

    The Deployment repeats an old ReplicaSet's failure as well (getReplicaFailures in pkg/controller/deployment/
    progress.go), and keeps an old `Progressing` while it is only scaled; but that names its ReplicaSet.
    """
    own = f'ReplicaSet "{current["metadata"]["name"]}"' if current else "none yet"
    for one in [*conditions(current or {}), condition(deployment, "Progressing")]:
        message = str(one.get("message"))
        is_anothers = message.startswith('ReplicaSet "') and not message.startswith(own)
        if _is_failure(one) and one not in past.conditions and not is_anothers:
            return f"{one.get('reason')}: {message}"
    return ""


def _is_failure(of: Object) -> bool:
    return (of.get("type"), of.get("status")) in {("ReplicaFailure", "True"), ("Progressing", "False")}


def _describe(pod: Object) -> str:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"is not scheduled: {scheduled.get('message')}"
    status = pod.get("status", {})
    if _has_failed(pod):  # by the node: evicted, preempted, shut down
        return f"has failed: {status.get('reason', '')}, {status.get('message', '')}"
    if any(one["name"] == FETCHER and "running" in one.get("state", {}) for one in containers(pod)):
        return "still fetches the version; give it longer: serving.ready_seconds"
    states = [container.get("state", {}) for container in containers(pod)]
    waiting = [state["waiting"].get("reason", "") for state in states if "waiting" in state]
    return f"is {status.get('phase', 'new')}{''.join(f', {reason}' for reason in waiting)}, not ready"
