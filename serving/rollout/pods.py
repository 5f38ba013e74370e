"""The pods of a Deployment: which there are, and what their status says."""

from __future__ import annotations

from typing import NamedTuple

from serving.manifests import SERVER, VERSION, Object
from serving.rollout.cluster import Cluster

_TEMPLATE_HASH = "pod-template-hash"


class Failure(NamedTuple):
    """Why pods are not ready, or must not serve; `blames_model` tells a fault of the model from one of the cluster."""

    reason: str
    blames_model: bool


def served_version(deployment: Object) -> int:
    """The version in a Deployment's template."""
    return int(deployment["spec"]["template"]["metadata"]["labels"][VERSION])


def rest_port(deployment: Object) -> int:
    """The REST port of a Deployment's pods."""
    ports = [port for one in deployment["spec"]["template"]["spec"]["containers"] for port in one.get("ports", [])]
    return next(int(port["containerPort"]) for port in ports if port.get("name") == "rest")


def pods_of(cluster: Cluster, deployment: Object) -> list[Object]:
    """Pods of a Deployment's current template; during a change there are pods of older templates, too."""
    return pods_in(cluster, replica_set_of(cluster, deployment))


def serving_pods(cluster: Cluster, deployment: Object) -> list[Object]:
    """Pods that serve a Deployment's version, of any template: all that users may reach."""
    version = str(served_version(deployment))
    return [pod for pod in living_pods(cluster, deployment) if pod["metadata"]["labels"].get(VERSION) == version]


def living_pods(cluster: Cluster, owner: Object) -> list[Object]:
    """Pods that a Deployment or ReplicaSet selects, without those being deleted."""
    return labelled_pods(cluster, owner["spec"]["selector"]["matchLabels"])


def labelled_pods(cluster: Cluster, labels: dict[str, str]) -> list[Object]:
    """Pods with these labels, without those being deleted."""
    return [pod for pod in cluster.list("Pod", labels) if "deletionTimestamp" not in pod["metadata"]]


def replica_set_of(cluster: Cluster, deployment: Object) -> Object | None:
    """The ReplicaSet of a Deployment's current template; None if the controller has not made it yet.

    Found as the controller finds it (FindNewReplicaSet in pkg/controller/deployment/util/deployment_util.go).
    """
    found = cluster.list("ReplicaSet", deployment["spec"]["selector"]["matchLabels"])
    same = [each for each in found if _owns(deployment, each) and _template(each) == _template(deployment)]
    return min(same, key=lambda each: str(each["metadata"]["creationTimestamp"]), default=None)


def pods_in(cluster: Cluster, current: Object | None) -> list[Object]:
    """Pods of a ReplicaSet, if there is one."""
    return [pod for pod in living_pods(cluster, current) if _owns(current, pod)] if current else []


def ready(pods: list[Object]) -> list[Object]:
    """The pods that get traffic."""
    return [pod for pod in pods if condition(pod, "Ready").get("status") == "True"]


def containers(pod: Object) -> list[Object]:
    """The statuses of a pod's containers."""
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def servers(pod: Object) -> list[Object]:
    """The status of a pod's model server; none before there is one."""
    return [one for one in containers(pod) if one["name"] == SERVER]


def condition(each: Object, kind: str) -> Object:
    """An object's condition of a kind; empty without it."""
    return next((one for one in conditions(each) if one["type"] == kind), {})


def conditions(each: Object) -> list[Object]:
    """All conditions of an object."""
    return list(each.get("status", {}).get("conditions", []))


def _owns(owner: Object, each: Object) -> bool:
    return any(one["uid"] == owner["metadata"]["uid"] for one in each["metadata"].get("ownerReferences", []))


def _template(owner: Object) -> Object:
    template = owner["spec"]["template"]
    labels = {key: value for key, value in template["metadata"]["labels"].items() if key != _TEMPLATE_HASH}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}
