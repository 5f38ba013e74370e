"""The Deployment controller, the kubelet and the garbage collector in one, told what is to become of pods."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from typing import Any, Literal

from tests.fakes.kubernetes.objects import Object, Objects, RefusalError, owned_by

# What becomes of a Deployment's new pods; `unseen`: no controller looks at the change.
Fate = Literal["ready", "image", "crash", "config", "stall", "quota", "deadline", "unseen", "restarted"]
_WELL: set[Fate] = {"ready", "restarted"}
HASH = "pod-template-hash"
CRASH_LOG = (
    "Failed to start server: Loading servable: {name: taxi} failed: Not found: Could not find variable dense/kernel"
)


class Controller(threading.Thread):
    """Brings pods in line with Deployments every few milliseconds.

    Args:
        objects: The server's.
        fates: What becomes of the pods of a Deployment, or of one version of it (`taxi-serving@2`); `ready` of others.

    Attributes:
        slow: Passes before a change of a Deployment is looked at.
    """

    def __init__(self, objects: Objects, fates: dict[str, Fate]) -> None:
        super().__init__(name="controller", daemon=True)
        self.slow = 0
        self._fates = fates
        self._objects = objects
        self._waited: dict[tuple[str, int], int] = {}
        self._numbers = itertools.count()
        self._over = threading.Event()

    def run(self) -> None:
        settled: object = None
        while not self._over.wait(0.01):
            with self._objects.lock:
                now = (self._objects.version, tuple(self._fates.items()))
                if now == settled and not self.slow:
                    continue
                settled = now
                for deployment in self._objects.list("Deployment"):
                    self._reconcile(deployment)
                self._collect()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _reconcile(self, deployment: Object) -> None:
        name, generation = deployment["metadata"]["name"], deployment["metadata"]["generation"]
        fate = self._fate(deployment)
        waited = self._waited[name, generation] = self._waited.get((name, generation), 0) + 1
        if fate == "unseen" or waited <= self.slow:
            return
        template = deployment["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
        wanted = deployment["spec"].get("replicas", 1)
        pods = list(owned_by(self._objects, "Pod", deployment))
        new = [pod for pod in pods if pod["metadata"]["labels"][HASH] == digest]
        old = [pod for pod in pods if pod not in new]
        missing = range(len(new), 0 if fate == "quota" else wanted)
        new += [self._pod(deployment, template, digest) for _ in missing]
        for pod in new[wanted:]:
            self._objects.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        for pod in new[:wanted]:
            metadata = pod["metadata"]
            self._objects.set_status("Pod", metadata["namespace"], metadata["name"], _pod_status(pod, fate))
        if fate in _WELL:
            for pod in old:
                self._objects.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
            old = []
        status = _deployment_status(generation, len(new[:wanted]), len(old), fate, wanted)
        self._objects.set_status("Deployment", deployment["metadata"]["namespace"], name, status)

    def _fate(self, deployment: Object) -> Fate:
        name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
        return self._fates.get(f"{name}@{labels.get('app.kubernetes.io/version')}", self._fates.get(name, "ready"))

    def _pod(self, deployment: Object, template: Object, digest: str) -> Object:
        metadata = deployment["metadata"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{metadata['name']}-{digest}-{next(self._numbers)}",
                "namespace": metadata["namespace"],
                "labels": {**template["metadata"]["labels"], HASH: digest},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
                ],
            },
            "spec": template["spec"],
        }
        return self._objects.create(pod, "kube-controller-manager")

    def _collect(self) -> None:
        living = {each["metadata"]["uid"] for each in self._objects.list("Deployment")}
        for pod in self._objects.list("Pod"):
            if pod["metadata"]["ownerReferences"][0]["uid"] not in living:
                try:
                    self._objects.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
                except RefusalError:
                    continue


def _pod_status(pod: Object, fate: Fate) -> Object:
    names = [container["name"] for container in pod["spec"]["containers"]]
    image = pod["spec"]["containers"][0]["image"]
    waiting: dict[Fate, tuple[str, str]] = {
        "image": ("ImagePullBackOff", f'Back-off pulling image "{image}"'),
        "crash": ("CrashLoopBackOff", "back-off 10s restarting failed container"),
        "config": ("CreateContainerConfigError", 'configmap "taxi-models-v9" not found'),
        "stall": ("ContainerCreating", ""),
        "deadline": ("ContainerCreating", ""),
    }
    statuses = []
    for name in names:
        status: Object = {"name": name, "image": image, "imageID": "", "restartCount": 0, "ready": fate in _WELL}
        if fate in waiting:
            reason, message = waiting[fate]
            status["state"] = {"waiting": {"reason": reason, "message": message}}
        else:
            status["state"] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        if fate == "restarted":
            status["restartCount"] = 1
        if fate == "crash":
            status |= {"restartCount": 2, "lastState": {"terminated": {"exitCode": 255, "reason": "Error"}}}
        statuses.append(status)
    ready = {"type": "Ready", "status": "True" if fate in _WELL else "False"}
    phase = "Running" if fate in {*_WELL, "crash"} else "Pending"
    return {"phase": phase, "conditions": [ready], "containerStatuses": statuses}


def _deployment_status(generation: int, new: int, old: int, fate: Fate, wanted: int) -> Object:
    available = (new if fate in _WELL else 0) + old
    counts = {"replicas": new + old, "updatedReplicas": new, "readyReplicas": available, "availableReplicas": available}
    conditions: list[dict[str, Any]] = [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]
    if fate == "quota":
        message = 'pods "taxi-serving" is forbidden: exceeded quota: compute, requested: cpu=2'
        conditions.append({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message})
    if fate == "deadline":
        message = "ReplicaSet has timed out progressing."
        conditions = [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": message}
        ]
    return {"observedGeneration": generation, "conditions": conditions, **{k: v for k, v in counts.items() if v}}
