"""The other workers on Kubeflow: an indexed Job and a headless Service, made, watched and removed by the step.

Their pods are as the step's own: its image, resources, node selectors and account. Of a step that is killed nothing is
left: while its pods wait, the Job has a deadline; once they run, each ends that loses the chief. An ended Job goes by
itself, as it goes with the step's pod, and the Service goes with the Job.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from components.train_model.together import WorkerLostError
from components.train_model.worker import LOST
from serving.manifests import Object
from serving.rollout.cluster import Cluster, StaleError
from slipway.errors import ClusterError, TrainingError

PORT = 2222
# How long pods may wait for a node and for their image.
START_SECONDS = 1800.0
# How long a Job outlives the step that made it, waiting, and how long it stays once it has ended.
TTL_SECONDS = 600
NAME, INDEX = "slipway.dev/training-workers", "batch.kubernetes.io/job-completion-index"
log = logging.getLogger(__name__)
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_ADVICE = "manifests/pipeline-account/workers has the rights that a training on several workers needs"
# What of the step's pod its workers have, too.
_OF_THE_POD = ("serviceAccountName", "nodeSelector", "tolerations", "affinity", "imagePullSecrets", "securityContext")
_OF_THE_CONTAINER = ("image", "imagePullPolicy", "resources", "securityContext")


class KubernetesWorkers:
    """The workers of one attempt, in a `with` block.

    Raises:
        TrainingError: they do not start in time.
        ClusterError: the API server refuses a request, or does not respond.
    """

    index = 0
    poll_seconds = 5.0

    def __init__(
        self,
        inputs_uri: str,
        workers: int,
        attempt: int,
        *,
        pod: str = "",
        namespace: str = "",
        pause: Callable[[float], None] = time.sleep,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._inputs_uri, self._others, self._attempt = inputs_uri, workers - 1, attempt
        self._pod = pod or os.environ["KFP_POD_NAME"]  # which may be longer than its host name
        self._namespace = namespace or (_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
        self._pause, self._start_seconds = pause, start_seconds
        self.hosts: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._cluster = opened.enter_context(Cluster(self._namespace, rights=_ADVICE, pause=self._pause))
            own = self._cluster.get("Pod", self._pod)
            if own is None:
                raise TrainingError(
                    f"there is no pod {self._pod} in {self._namespace}: the step does not know where it runs"
                )
            self._name = f"slipway-{own['metadata']['uid'][:13]}-{self._attempt}"
            address = own["status"]["podIP"]
            self.hosts = [f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"]
            self.hosts += [f"{self._name}-{index}.{self._name}:{PORT}" for index in range(self._others)]
            opened.callback(self._remove)
            self._create(self._job(own))
            job = self._look()
            self._create(self._service(job))
            self._await_start()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def check(self) -> None:
        """Raises a WorkerLostError if a pod was lost, and a TrainingError if a worker failed by itself.

        An API server that does not respond ends no training: the chief itself notices who is lost.
        """
        try:
            self._look()
        except ClusterError as error:
            log.warning("the workers are not watched: %s", error)

    def _create(self, made: Object) -> None:
        with suppress(StaleError):  # made by a request whose answer was lost
            self._cluster.create(made)

    def _look(self) -> Object:
        """The Job; raises as `check` does."""
        job = self._cluster.get("Job", self._name)
        if job is None:
            raise WorkerLostError(f"the Job {self._name} is gone: somebody deleted it")
        ended = {one["type"]: one for one in job.get("status", {}).get("conditions", []) if one["status"] == "True"}
        if "Failed" not in ended:
            return job
        for pod in self._pods():
            self._check_pod(pod)
        raise WorkerLostError(f"the Job {self._name} failed: {ended['Failed'].get('message', 'no reason is given')}")

    def _check_pod(self, pod: Object) -> None:
        """Raises why a pod failed, if it did, and not for want of another."""
        status, which = pod.get("status", {}), f"worker {int(_index(pod)) + 1} ({pod['metadata']['name']})"
        if status.get("phase") != "Failed":
            return
        states = [one.get("state", {}) for one in status.get("containerStatuses", [])]
        ended: Object = next((one["terminated"] for one in states if "terminated" in one), {})
        message = " ".join(str(ended.get("message", "")).split())
        if ended.get("reason") == "OOMKilled":
            raise TrainingError(
                f"{which} was killed for want of memory: raise compute.train_model.memory, or distribution.workers"
            )
        if ended.get("exitCode") == 1:
            raise TrainingError(f"{which} failed: {message or self._log(pod)}")
        if ended.get("exitCode") != LOST:
            why = status.get("message") or message or f"exit code {ended.get('exitCode', 'unknown')}"
            raise WorkerLostError(f"{which} was lost: {status.get('reason') or ended.get('reason', '')}: {why}")

    def _log(self, pod: Object) -> str:
        return self._cluster.log(pod["metadata"]["name"], "worker")

    def _await_start(self) -> None:
        waited = 0.0
        while True:
            job, pods = self._look(), self._pods()
            if sum(pod.get("status", {}).get("phase") in ("Running", "Succeeded") for pod in pods) == self._others:
                with suppress(StaleError):  # its status changed meanwhile
                    return self._lift_deadline(job)
            if waited >= self._start_seconds:
                created = f"{len(pods)} of {self._others} pods were created" if len(pods) < self._others else ""
                why = next(filter(None, map(_why_waiting, pods)), "") or created or "no reason is given"
                raise TrainingError(
                    f"the workers did not start within {self._start_seconds:.0f} s: {why}. Make room in the cluster or "
                    "its quota, or lower distribution.workers or compute.train_model; while the step waits, "
                    f"{self._cluster.kubectl} describe job {self._name} says more"
                )
            self._pause(self.poll_seconds)
            waited += self.poll_seconds

    def _lift_deadline(self, job: Object) -> None:
        """Lets a Job train as long as it takes: the deadline counts from the Job's start, not from its pods'."""
        job["spec"].pop("activeDeadlineSeconds", None)
        self._cluster.replace(job)

    def _pods(self) -> list[Object]:
        return sorted(self._cluster.list("Pod", {NAME: self._name}), key=_index)

    def _remove(self) -> None:
        try:
            self._cluster.delete("Job", self._name)
        except ClusterError as error:
            log.warning("the Job %s stays until it has ended, or this pod is gone: %s", self._name, error)

    def _metadata(self, owner: Object, api_version: str, kind: str) -> Object:
        metadata = owner["metadata"]
        reference = {"apiVersion": api_version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}
        return {
            "name": self._name,
            "namespace": self._namespace,
            "labels": {NAME: self._name, "app.kubernetes.io/managed-by": "slipway"},
            "ownerReferences": [reference],
        }

    def _service(self, job: Object) -> Object:
        """Gives each pod a name, before it is ready, too."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self._metadata(job, "batch/v1", "Job"),
            "spec": {
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "selector": {NAME: self._name},
                "ports": [{"name": "grpc", "port": PORT}],
            },
        }

    def _job(self, own: Object) -> Object:
        spec = own["spec"]
        main = next((one for one in spec["containers"] if one["name"] == "main"), spec["containers"][0])
        container = {
            "name": "worker",
            "command": ["python3", "-m", "components.train_model.worker", self._inputs_uri, json.dumps(self.hosts)],
            "ports": [{"containerPort": PORT}],
            **{name: main[name] for name in _OF_THE_CONTAINER if name in main},
            **_login(spec, main),
        }
        # A mesh would encrypt what TensorFlow says, and its side-car would keep the Job from ending.
        labels = {NAME: self._name, "app.kubernetes.io/managed-by": "slipway", "sidecar.istio.io/inject": "false"}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self._metadata(own, "v1", "Pod"),
            "spec": {
                "completions": self._others,
                "parallelism": self._others,
                "completionMode": "Indexed",
                "backoffLimit": 0,  # where one is lost, all begin again, as another Job
                "activeDeadlineSeconds": int(self._start_seconds) + TTL_SECONDS,  # until all pods run
                "ttlSecondsAfterFinished": TTL_SECONDS,
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "subdomain": self._name,
                        "restartPolicy": "Never",
                        "automountServiceAccountToken": False,
                        "containers": [container],
                        "volumes": _secrets(spec),
                        **{name: spec[name] for name in _OF_THE_POD if name in spec},
                    },
                },
            },
        }


def _login(spec: Object, main: Object) -> Object:
    """What the step's container has from secrets, as the login to S3: the workers read and write the same places."""
    secrets = {one["name"] for one in _secrets(spec)}
    return {
        "env": [one for one in main.get("env", []) if "secretKeyRef" in one.get("valueFrom", {})],
        "volumeMounts": [one for one in main.get("volumeMounts", []) if one["name"] in secrets],
    }


def _secrets(spec: Object) -> list[Object]:
    return [one for one in spec.get("volumes", []) if "secret" in one]


def _index(pod: Object) -> str:
    return str(pod["metadata"].get("annotations", {}).get(INDEX, "0"))


def _why_waiting(pod: Object) -> str:
    status = pod.get("status", {})
    for one in status.get("conditions", []):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return f"{pod['metadata']['name']} is {one.get('reason', 'not scheduled')}: {one.get('message', '')}"
    for one in status.get("containerStatuses", []):
        waiting = one.get("state", {}).get("waiting")
        if waiting:
            return f"{pod['metadata']['name']} waits: {waiting['reason']}: {waiting.get('message', '')}"
    return ""
