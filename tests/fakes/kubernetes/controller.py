"""The Deployment controller, the kubelet and the garbage collector in one, told what is to become of pods.

What it writes is what pkg/controller/deployment of Kubernetes writes: a ReplicaSet for each template (sync.go,
getNewReplicaSet), pods within the surge (rolling.go), conditions that name it (progress.go, syncRolloutStatus) and that
stay as they are while status and reason do (util/deployment_util.go, SetDeploymentCondition), and old pods that live on
until new ones are available. A pod that is deleted lives on for a while, too.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tests.fakes.kubernetes import jobs
from tests.fakes.kubernetes.objects import CONTROLLER, Object, Objects, owned_by

# What becomes of a Deployment's new pods; `unseen`: no controller looks at the change; `side-car`: only that restarted.
# `waits`: its server runs, and never becomes ready; `evicted`: by its node, and so is every one that replaces it.
# `fetching`: an init container runs; `fetch`: it ended as a crash does; `too-large`: it wrote more than its volume has.
Fate = Literal[
    "ready", "image", "crash", "config", "stall", "quota", "deadline", "unseen", "restarted", "side-car", "waits",
    "evicted", "unschedulable", "fetching", "fetch", "too-large",
]  # fmt: skip
_WELL: set[Fate] = {"ready", "restarted", "side-car"}
_PASSES_TO_END = 2
HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_OWNED = {"ReplicaSet": ("Deployment",), "Job": ("Pod",), "Service": ("Job",), "Pod": ("ReplicaSet", "Job")}
# What TensorFlow Serving 2.19 ends with (model_servers/main.cc, core/load_servables_fast.cc).
CRASH_LOG = (
    "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{name: taxi version: 2} due to "
    "error: NOT_FOUND: Could not find variable dense/kernel}"
)


@dataclass(frozen=True)
class Crash:
    """How the containers of a pod with the fate `crash` ended last, their last lines, and how often they ended."""

    log: str = CRASH_LOG
    exit_code: int = 255
    reason: str = "Error"
    times: int = 3


class Controller(threading.Thread):
    """Brings pods in line with Deployments every few milliseconds.

    Args:
        objects: The server's.
        fates: What becomes of the pods of a Deployment, or of one version of it (`taxi-serving@2`); `ready` of others.

    Attributes:
        crash: What the fate `crash` is.
        slow: Passes before a change of a Deployment is looked at.
        worker_fates: What becomes of the pods of a Job.
        seconds: How long the cluster has run, by the clock of Jobs: it stands still unless a test turns it.
    """

    def __init__(self, objects: Objects, fates: dict[str, Fate]) -> None:
        super().__init__(name="controller", daemon=True)
        self.crash = Crash()
        self.slow = 0
        self.worker_fates: jobs.Fates = lambda job, index: "running"
        self.seconds = 0.0
        self._fates = fates
        self._objects = objects
        self._waited: dict[tuple[str, int], int] = {}
        self._ending: dict[str, int] = {}
        self._numbers = itertools.count()
        self._over = threading.Event()

    def run(self) -> None:
        settled: object = None
        while not self._over.wait(0.01):
            with self._objects.lock:
                now = (self._objects.version, tuple(self._fates.items()), self.worker_fates, self.seconds)
                if now == settled and not self.slow and not self._ending:
                    continue
                settled = now
                self.look()

    def look(self) -> None:
        """One pass."""
        with self._objects.lock:
            for deployment in self._objects.list("Deployment"):
                self._reconcile(deployment)
            jobs.reconcile(self._objects, self.worker_fates, self.seconds)
            self._collect()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _reconcile(self, deployment: Object) -> None:
        metadata, wanted = deployment["metadata"], deployment["spec"].get("replicas", 1)
        name, generation = metadata["name"], metadata["generation"]
        fate = self._fate(deployment)
        waited = self._waited[name, generation] = self._waited.get((name, generation), 0) + 1
        if fate == "unseen" or waited <= self.slow:
            return
        if deployment["spec"].get("paused"):  # it is scaled still, which no test needs; its status follows (sync.go)
            status = {**deployment.get("status", {}), "observedGeneration": generation}
            status["updatedReplicas"] = sum(
                len(_living(owned_by(self._objects, "Pod", one)))
                for one in owned_by(self._objects, "ReplicaSet", deployment)
                if _same_template(one, deployment)
            )
            self._set_status(deployment, {key: each for key, each in status.items() if each != 0})
            return
        old_sets = list(owned_by(self._objects, "ReplicaSet", deployment))
        current = next((one for one in old_sets if _same_template(one, deployment)), None)
        progress = "ReplicaSetUpdated" if current else "NewReplicaSetCreated"
        current = self._number(deployment, current or self._replica_set(deployment), old_sets)
        old = [pod for one in old_sets if one["metadata"]["name"] != current["metadata"]["name"]
               for pod in owned_by(self._objects, "Pod", one)]  # fmt: skip
        old, pods = _living(old), _living(owned_by(self._objects, "Pod", current))
        for pod in pods[wanted:]:
            self._remove(pod)
        pods = [self._set_status(pod, _pod_status(pod, fate, self.crash)) for pod in pods[:wanted]]
        surge, missing = _surge(deployment)
        for _ in range(len(pods), 0 if fate == "quota" else min(wanted, wanted + surge - len(old))):
            pod = self._pod(current)
            pods.append(self._set_status(pod, _pod_status(pod, "stall", self.crash)))
        old.sort(key=_is_ready, reverse=True)
        while old and sum(map(_is_ready, pods + old[:-1])) >= wanted - missing:
            self._remove(old.pop())
        if sum(map(_is_ready, pods)) == wanted and not old:
            progress = "NewReplicaSetAvailable"
        if fate == "deadline" and progress == "ReplicaSetUpdated":
            progress = "ProgressDeadlineExceeded"
        failures = [_failure(current)] if fate == "quota" else []
        self._set_status(current, {"replicas": len(pods), "conditions": self._merged(current, failures)})
        conditions = self._merged(deployment, [_progress(current, progress), *failures])
        self._set_status(deployment, _deployment_status(generation, pods, old) | {"conditions": conditions})

    def _number(self, deployment: Object, current: Object, others: list[Object]) -> Object:
        """Gives the newest template the highest revision, and the Deployment's annotations (deployment_util.go)."""
        revisions = [
            int(one["metadata"]["annotations"][REVISION])
            for one in others
            if one["metadata"]["uid"] != current["metadata"]["uid"]
        ]
        own = int(current["metadata"].get("annotations", {}).get(REVISION, 0))
        revision = str(max([1, own, *(one + 1 for one in revisions)]))
        annotations = deployment["metadata"].get("annotations", {})
        if annotations.get(REVISION) != revision:
            annotations = annotations | {REVISION: revision}
            deployment["metadata"]["annotations"] = annotations
            self._objects.annotate(deployment, annotations)
        if current["metadata"].get("annotations") == annotations:
            return current
        return self._objects.annotate(current, annotations)

    def _merged(self, each: Object, conditions: list[Object]) -> list[Object]:
        """Those that it has, where status and reason are the same."""
        kept = {
            (one["type"], one["status"], one["reason"]): one for one in each.get("status", {}).get("conditions", [])
        }
        minutes, seconds = divmod(next(self._numbers), 60)
        now = {"lastTransitionTime": f"2026-01-01T{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}Z"}
        return [kept.get((one["type"], one["status"], one["reason"]), one | now) for one in conditions]

    def _set_status(self, each: Object, status: Object) -> Object:
        metadata = each["metadata"]
        self._objects.set_status(each["kind"], metadata["namespace"], metadata["name"], status)
        return each | {"status": status}

    def _remove(self, each: Object) -> None:
        if each["kind"] == "Pod":
            self._objects.terminate(each["metadata"]["namespace"], each["metadata"]["name"])
            return
        self._objects.delete(each["kind"], each["metadata"]["namespace"], each["metadata"]["name"])

    def _fate(self, deployment: Object) -> Fate:
        name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
        return self._fates.get(f"{name}@{labels.get('app.kubernetes.io/version')}", self._fates.get(name, "ready"))

    def _replica_set(self, deployment: Object) -> Object:
        metadata, spec = deployment["metadata"], deployment["spec"]
        digest = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:8]
        labels = spec["template"]["metadata"]["labels"] | {HASH: digest}
        made = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": _owned_metadata(f"{metadata['name']}-{digest}", labels, deployment),
            "spec": {
                "replicas": spec.get("replicas", 1),
                "selector": {"matchLabels": spec["selector"]["matchLabels"] | {HASH: digest}},
                "template": spec["template"] | {"metadata": spec["template"]["metadata"] | {"labels": labels}},
            },
        }
        return self._objects.create(made, CONTROLLER)

    def _pod(self, owner: Object) -> Object:
        template = owner["spec"]["template"]
        name = f"{owner['metadata']['name']}-{self._objects.version}"
        made = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": _owned_metadata(name, template["metadata"]["labels"], owner),
            "spec": template["spec"],
        }
        return self._objects.create(made, CONTROLLER)

    def _collect(self) -> None:
        passes, self._ending = self._ending, {}
        for pod in self._objects.list("Pod"):
            name = pod["metadata"]["name"]
            if passes.get(name, 0) == _PASSES_TO_END:
                self._objects.delete("Pod", pod["metadata"]["namespace"], name)
            elif "deletionTimestamp" in pod["metadata"]:
                self._ending[name] = passes.get(name, 0) + 1
        for kind, owner_kinds in _OWNED.items():
            living = {each["metadata"]["uid"] for owner in owner_kinds for each in self._objects.list(owner)}
            for each in self._objects.list(kind):
                owners = each["metadata"].get("ownerReferences")
                if owners and owners[0]["uid"] not in living:
                    self._remove(each)


def _living(pods: Iterable[Object]) -> list[Object]:
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def _surge(deployment: Object) -> tuple[int, int]:
    """How many pods a change may have too many and too few (pkg/controller/deployment/rolling.go)."""
    rolling = deployment["spec"].get("strategy", {}).get("rollingUpdate", {})
    return rolling.get("maxSurge", 1), rolling.get("maxUnavailable", 0)


def _owned_metadata(name: str, labels: dict[str, str], owner: Object) -> Object:
    metadata = owner["metadata"]
    reference = {
        "apiVersion": "apps/v1",
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {"name": name, "namespace": metadata["namespace"], "labels": labels, "ownerReferences": [reference]}


def _same_template(replica_set: Object, deployment: Object) -> bool:
    template = copy.deepcopy(replica_set["spec"]["template"])
    del template["metadata"]["labels"][HASH]
    return bool(template == deployment["spec"]["template"])


def _is_ready(pod: Object) -> bool:
    return any(one == {"type": "Ready", "status": "True"} for one in pod.get("status", {}).get("conditions", []))


def _pod_status(pod: Object, fate: Fate, crash: Crash) -> Object:
    names = [container["name"] for container in pod["spec"]["containers"]]
    image = pod["spec"]["containers"][0]["image"]
    waiting: dict[Fate, tuple[str, str]] = {
        "image": ("ImagePullBackOff", f'Back-off pulling image "{image}"'),
        "config": ("CreateContainerConfigError", 'configmap "taxi-models-v9" not found'),
        "stall": ("ContainerCreating", ""),
        "deadline": ("ContainerCreating", ""),
        "fetching": ("PodInitializing", ""),
        "fetch": ("PodInitializing", ""),
    }
    statuses = []
    for name in names:
        status: Object = {"name": name, "image": image, "imageID": "", "restartCount": 0, "ready": fate in _WELL}
        if fate in waiting:
            reason, message = waiting[fate]
            status["state"] = {"waiting": {"reason": reason, "message": message}}
        else:
            status["state"] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        if fate == "restarted" or (fate == "side-car" and name != names[0]):
            ended = {"exitCode": crash.exit_code, "reason": crash.reason}
            status |= {"restartCount": 1, "lastState": {"terminated": ended}}
        if fate == "crash":
            status |= _crashed(crash)
        statuses.append(status)
    ready = {"type": "Ready", "status": "True" if fate in _WELL else "False"}
    if fate == "evicted":  # pkg/kubelet/eviction/helpers.go
        message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi."
        return {"phase": "Failed", "reason": "Evicted", "message": message, "conditions": [ready]}
    if fate == "too-large":
        message = 'Usage of EmptyDir volume "models" exceeds the limit "10Gi". '
        return {"phase": "Failed", "reason": "Evicted", "message": message, "conditions": [ready]}
    if fate == "unschedulable":
        message = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available"
        scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        return {"phase": "Pending", "conditions": [ready, scheduled]}
    phase = "Running" if fate in {*_WELL, "crash", "waits"} else "Pending"
    status = {"phase": phase, "conditions": [ready], "containerStatuses": statuses}
    if inits := [_init_status(one, fate, crash) for one in pod["spec"].get("initContainers", [])]:
        status["initContainerStatuses"] = inits
    return status


def _crashed(crash: Crash) -> Object:
    """A status after these ends: a kubelet restarts at once after the first, and backs off from the second on."""
    ended = {"terminated": {"exitCode": crash.exit_code, "reason": crash.reason}}
    if crash.times == 1:
        return {"restartCount": 0, "state": ended}
    back_off = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    return {"restartCount": crash.times - 1, "state": back_off, "lastState": ended}


def _init_status(container: Object, fate: Fate, crash: Crash) -> Object:
    """What a pod's status says of an init container (pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses)."""
    status: Object = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
    completed = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    pending = {"waiting": {"reason": "PodInitializing"}}
    early: dict[Fate, Object] = {"fetching": running, "stall": pending, "deadline": pending, "config": pending}
    status |= {"state": early.get(fate, completed), "ready": fate not in {*early, "fetch"}}
    if fate == "fetch":
        status |= _crashed(crash)
        ended = next(status[key] for key in ("state", "lastState") if "terminated" in status.get(key, {}))
        if container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            ended["terminated"]["message"] = crash.log[-2048:]
    return status


def _progress(current: Object, reason: str) -> Object:
    ends = {
        "ProgressDeadlineExceeded": "has timed out progressing",
        "NewReplicaSetAvailable": "has successfully progressed",
    }
    message = f'ReplicaSet "{current["metadata"]["name"]}" {ends.get(reason, "is progressing")}.'
    status = "False" if reason == "ProgressDeadlineExceeded" else "True"
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}


def _failure(current: Object) -> Object:
    message = f'pods "{current["metadata"]["name"]}-x7k2p" is forbidden: exceeded quota: compute, requested: cpu=2'
    return {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}


def _deployment_status(generation: int, new: list[Object], old: list[Object]) -> Object:
    available = sum(map(_is_ready, new + old))
    counts = {
        "replicas": len(new) + len(old),
        "updatedReplicas": len(new),
        "readyReplicas": available,
        "availableReplicas": available,
    }
    return {"observedGeneration": generation, **{key: count for key, count in counts.items() if count}}
