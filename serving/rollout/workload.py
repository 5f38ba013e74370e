"""The objects that serve one model in one namespace: applied, read and deleted; whether pods are ready, and why not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from serving.manifests import SERVER, TRACK, VERSION, Object, Track, for_version
from serving.rollout.cluster import Cluster
from slipway.errors import ConfigError

_PODS_GONE_SECONDS = 60
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


def namespace_of(objects: list[Object]) -> str:
    """The namespace of an overlay; raises `ConfigError` if there is none, or there are several."""
    names = {str(each["metadata"].get("namespace", "")) for each in objects}
    if len(names) != 1 or "" in names:
        found = ", ".join(sorted(names - {""})) or "none"
        raise ConfigError(f"an overlay is for one namespace, and this one names {found}: set `namespace:` in it")
    return names.pop()


@dataclass(frozen=True)
class Workload:
    """One model's objects, with the attributes of `Rollout`.

    Attributes:
        models_path: The model store, as pods see it.
        check: Called before each write; raises if the rollout has lost its lease.
    """

    cluster: Cluster
    objects: list[Object]
    model: str
    models_path: str
    force: bool
    pause: Callable[[float], None]
    check: Callable[[], None]

    def deployment_name(self, track: Track) -> str:
        """Name of a track's Deployment."""
        return str(self._wanted(track, 1)[-1]["metadata"]["name"])

    def deployment(self, track: Track) -> Object | None:
        """A track's Deployment, if there is one."""
        return self.cluster.get("Deployment", self.deployment_name(track))

    def stable_version(self) -> int | None:
        """The version that the stable Deployment serves; None without one."""
        stable = self.deployment("stable")
        return served_version(stable) if stable else None

    def status(self, track: Track) -> dict[str, Any] | None:
        """Version and replicas of a track's Deployment; None without one."""
        found = self.deployment(track)
        if found is None:
            return None
        status = found.get("status", {})
        return {
            "version": served_version(found),
            "replicas": found["spec"].get("replicas", 1),
            "updated": status.get("updatedReplicas", 0),
            "ready": status.get("readyReplicas", 0),
        }

    def serve(self, track: Track, number: int, seconds: float, replicas: int | None = None) -> Failure | None:
        """Applies a track's objects for a version, and waits until its pods are ready, as `wait_ready` does."""
        name = self.deployment_name(track)
        past = past_of(self.cluster, name)
        self.apply(track, number, replicas)
        return wait_ready(self.cluster, name, seconds, self.pause, past)

    def apply(self, track: Track, number: int, replicas: int | None = None, *, only_shared: bool = False) -> None:
        """Applies a track's objects for a version; or only those of no track, as Service, account, configuration."""
        for each in self._wanted(track, number, replicas):
            if not only_shared or TRACK not in each["metadata"].get("labels", {}):
                self.check()
                self.cluster.apply(each, force=self.force)

    def would_change_pods(self, track: Track, number: int) -> bool:
        """Whether `apply` would change a track's Deployment."""
        return self.cluster.would_change(self._wanted(track, number)[-1], force=self.force)

    def remove(self, track: Track) -> None:
        """Deletes a track's Deployment and waits until its pods are gone, so that no later check meets them."""
        found = self.deployment(track)
        if found is None:
            return
        self.check()
        self.cluster.delete("Deployment", found["metadata"]["name"])
        for _ in range(_PODS_GONE_SECONDS):
            if not living_pods(self.cluster, found):
                return
            self.pause(1.0)

    def _wanted(self, track: Track, number: int, replicas: int | None = None) -> list[Object]:
        path = f"{self.models_path}/{self.model}"
        made = for_version(self.objects, self.model, number, track=track, model_base_path=path, replicas=replicas)
        # The Deployment comes last, when all that its pods need is there.
        return sorted(made, key=lambda each: bool(each["kind"] == "Deployment"))


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


def past_of(cluster: Cluster, name: str) -> Past:
    """The problems of a Deployment now."""
    deployment = cluster.get("Deployment", name)
    if deployment is None:
        return Past([], {})
    current = _replica_set_of(cluster, deployment)
    return Past(_conditions(deployment) + _conditions(current or {}), restarts(_pods_in(cluster, current)))


def wait_ready(
    cluster: Cluster, name: str, seconds: float, pause: Callable[[float], None], past: Past
) -> Failure | None:
    """Waits until all of a Deployment's pods are new and available.

    Returns:
        None when they are; otherwise the reason, at once if waiting cannot help, or after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        deployment = cluster.get("Deployment", name)
        if deployment is None:
            return Failure(f"Deployment {name} was deleted during the rollout", blames_model=False)
        status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
        counts = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
        # Until the controller has seen the change, status and conditions are those before it.
        seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        if seen and counts == [wanted] * 3:
            return None
        current = _replica_set_of(cluster, deployment)
        pods = _pods_in(cluster, current)
        failure = next(_broken(cluster, pods, past), None) or (_refused(deployment, current, past) if seen else None)
        if failure:
            return failure
        if time.monotonic() > deadline:
            if not seen:
                reason = f"no controller processed the change in {seconds:g} s; is the control plane healthy?"
                return Failure(f"Deployment {name}: {reason}", blames_model=False)
            states = [f"pod {pod['metadata']['name']} {_describe(pod)}" for pod in pods] or ["no pods"]
            said = [str(one.get("message")) for one in _conditions(deployment) if _is_failure(one)]
            reason = f"is not ready after {seconds:g} s: {counts[0]} new, {counts[2]} available of {wanted}"
            return Failure(f"Deployment {name} {reason}; {'; '.join(states + said)}", blames_model=False)
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


def _broken(cluster: Cluster, pods: list[Object], past: Past) -> Iterator[Failure]:
    for pod, container in [(each, container) for each in pods for container in _containers(each)]:
        waiting = container.get("state", {}).get("waiting", {})
        name, container_name, count = pod["metadata"]["name"], container["name"], container.get("restartCount", 0)
        what = f"container {container_name} of pod {name}: {waiting.get('reason')}"
        if waiting.get("reason") in _NOT_THE_MODEL:
            yield Failure(f"{what}: {waiting.get('message', '')}", blames_model=False)
        elif waiting.get("reason") == _CRASHED and count > past.restarts.get((name, container_name), -1):
            last = container.get("lastState", {}).get("terminated", {})
            ended = f"exit code {last.get('exitCode')} {last.get('reason', '')}".strip()
            said = cluster.log_before_crash(name, container_name)
            reason = f"{what} after {count} restarts, {ended}; its last lines:\n{said}"
            yield Failure(reason, blames_model=container_name == SERVER)


def _refused(deployment: Object, current: Object | None, past: Past) -> Failure | None:
    """A failure that controllers have reported since the change, for its ReplicaSet.

    The Deployment repeats an old ReplicaSet's failure as well (getReplicaFailures in pkg/controller/deployment/
    progress.go), and keeps an old `Progressing` while it is only scaled; but that names its ReplicaSet.
    """
    own = f'ReplicaSet "{current["metadata"]["name"]}"' if current else "none yet"
    for one in [*_conditions(current or {}), _condition(deployment, "Progressing")]:
        message = str(one.get("message"))
        is_anothers = message.startswith('ReplicaSet "') and not message.startswith(own)
        if _is_failure(one) and one not in past.conditions and not is_anothers:
            reason = f"Deployment {deployment['metadata']['name']}: {one.get('reason')}: {message}"
            return Failure(reason, blames_model=False)
    return None


def _describe(pod: Object) -> str:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"is not scheduled: {scheduled.get('message')}"
    states = [container.get("state", {}) for container in _containers(pod)]
    waiting = [state["waiting"].get("reason", "") for state in states if "waiting" in state]
    return f"is {pod.get('status', {}).get('phase', 'new')}{''.join(f', {reason}' for reason in waiting)}, not ready"


def _containers(pod: Object) -> list[Object]:
    return list(pod.get("status", {}).get("containerStatuses", []))


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
