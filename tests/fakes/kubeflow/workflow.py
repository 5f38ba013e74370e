"""The Argo workflow of a run, and what the API makes of it, after the sources of kubeflow/pipelines and argo-workflows.

- nodes and templates: backend/src/v2/compiler/argocompiler/{dag,container}.go
- `(0)` at every level from 2.17 on: `templateDefaults.retryStrategy`, manifests/kustomize/third-party/argo/base/
  workflow-controller-configmap-patch.yaml, which Argo's executeTemplate (workflow/controller/operator.go) carries out
- names, ids and phases: `initializeNode` there, `executeDAGTask` (dag.go), `runOnExitNode` (exit_handler.go), `NodeID`
  (pkg/apis/workflow/v1alpha1/workflow_types.go), `GeneratePodName` (workflow/util/pod_name.go)
- a large workflow: workflow/packer/packer.go
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tests.fakes.kubeflow.bodies import Json

Ending = Literal["succeeded", "cached", "failed", "retried", "running", "waiting", "driver failed", "omitted"]

_BEGAN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
_STEP_SECONDS = 20
_RETRIED = {"train-model"}  # tasks with `set_retry`
_OMITTED = "omitted: depends condition not met"
_UNSTARTED = "0001-01-01T00:00:00Z"
# `RuntimeState.ToV2`, backend/src/apiserver/model/run.go; Omitted is in no case of it.
_V2 = {"Pending": "PENDING", "Running": "RUNNING", "Succeeded": "SUCCEEDED", "Skipped": "SKIPPED", "Failed": "FAILED",
       "Error": "FAILED", "Omitted": "RUNTIME_STATE_UNSPECIFIED"}  # fmt: skip


@dataclass
class Workflow:
    """A workflow whose tasks came to these ends; `phase` is its own.

    `record-run` is the exit handler, `slipway-training` the group of all other tasks.
    """

    name: str
    endings: dict[str, Ending]
    phase: str
    numbered: bool  # as the manifests of 2.17 have it
    compressed: bool = False
    pod_names: str = "v2"
    nodes: dict[str, Json] = field(default_factory=dict)
    _clock: int = 0

    def __post_init__(self) -> None:
        top = self._add("", self.name, "entrypoint", "DAG", self.phase)
        self._add(top, "root-driver", "system-dag-driver", "Pod", "Succeeded")
        root = self._add(top, "root", "root", "DAG", self.phase)
        if self.endings.get("slipway-training") == "driver failed":  # the hook runs after what ran: `runOnExitNode`
            self._add(root, "slipway-training-driver", "system-dag-driver", "Pod", "Failed", "Error (exit code 1)")
            self._add(root, "slipway-training", "comp-exit-handler-1", "Skipped", "Omitted", _OMITTED)
            return
        self._add(root, "slipway-training-driver", "system-dag-driver", "Pod", "Succeeded")
        group_phase = "Running" if self.phase == "Running" else "Succeeded"
        if {"failed", "driver failed"} & {ending for task, ending in self.endings.items() if task != "record-run"}:
            group_phase = "Failed"
        group = self._add(root, "slipway-training", "comp-exit-handler-1", "DAG", group_phase)
        for task, ending in self.endings.items():
            if task != "record-run":
                self._task(group, task, ending)
        if "record-run" in self.endings:
            hook = self._add(root, "slipway-training.onExit", "exit-hook-root-record-run", "DAG", group_phase)
            self._task(hook, "record-run", self.endings["record-run"])

    def _task(self, parent: str, task: str, ending: Ending) -> None:
        retry = "retry-" if task in _RETRIED else ""
        driver = {"driver failed": "Failed", "omitted": "Omitted"}.get(ending, "Succeeded")
        why = "Error (exit code 1)" if driver == "Failed" else ""
        kind = "Skipped" if driver == "Omitted" else "Pod"
        self._add(parent, f"{task}-driver", "system-container-driver", kind, driver, why)
        executor = f"{retry}system-container-executor"
        if driver != "Succeeded":
            self._add(parent, task, executor, "Skipped", "Omitted", _OMITTED)
            return
        phase = {"failed": "Failed", "running": "Running", "waiting": "Running"}.get(ending, "Succeeded")
        # `assessDAGPhase` ends the node in the pass in which the executor is skipped.
        inner = self._add(parent, task, executor, "DAG", phase, seconds=0 if ending == "cached" else _STEP_SECONDS)
        impl = f"{retry}system-container-impl"
        if ending == "cached":
            self._add(inner, "executor", impl, "Skipped", "Skipped", "when 'true != true' evaluated false", seconds=0)
        elif ending == "waiting":
            why = "Unschedulable: 0/3 nodes are available: 3 Insufficient memory."
            self._add(inner, "executor", impl, "Pod", "Pending", why)
        elif ending == "retried":
            self._attempts(inner, impl, "Failed", "Succeeded")
        elif ending == "failed" and retry:
            self._attempts(inner, impl, "Failed", "Failed")
        else:
            self._add(inner, "executor", impl, "Pod", phase, "OOMKilled (exit code 137)" if ending == "failed" else "")

    def _attempts(self, parent: str, template: str, *phases: str) -> None:
        """A retry node and its attempts, whatever the version."""
        numbered, self.numbered = self.numbered, False
        self._add(parent, "executor", template, "Retry", phases[-1])
        for number, phase in enumerate(phases):
            why = "Error (exit code 1)" if phase == "Failed" else ""
            self._add(parent, f"executor({number})", template, "Pod", phase, why)
        self.numbered = numbered

    def _add(
        self,
        parent: str,
        task: str,
        template: str,
        kind: str,
        phase: str,
        message: str = "",
        *,
        seconds: int = _STEP_SECONDS,
    ) -> str:
        """Adds a node, below a retry node in a numbered workflow; answers the name of the one that has the children."""
        name = f"{parent}.{task}" if parent else task
        display = task
        if self.numbered and kind in ("DAG", "Pod"):
            self._node(name, display, template, "Retry", phase, message, seconds)
            name, display = f"{name}(0)", f"{task}(0)"
        self._node(name, display, template, kind, phase, message, seconds)
        return name

    def _node(self, name: str, display: str, template: str, kind: str, phase: str, message: str, seconds: int) -> None:
        self._clock += 1
        began = _BEGAN + timedelta(seconds=self._clock)
        over = phase not in ("Pending", "Running")
        node: Json = {
            "id": self._id(name),
            "name": name,
            "displayName": display,
            "type": kind,
            "templateName": template,
            "phase": phase,
            "message": message,
            "startedAt": f"{began:%Y-%m-%dT%H:%M:%SZ}",
            "finishedAt": f"{began + timedelta(seconds=seconds if kind != 'Skipped' else 0):%Y-%m-%dT%H:%M:%SZ}"
            if over
            else None,
        }
        if kind == "Pod" and over:  # the wait container saves the log: workflow/executor/executor.go
            key = f"artifacts/{self.name}/2026/01/02/{self.pod(node)}/main.log"
            node["outputs"] = {"artifacts": [{"name": "main-logs", "s3": {"key": key}}]}
        self.nodes[node["id"]] = node

    def _id(self, name: str) -> str:
        if name == self.name:
            return name
        return f"{self.name}-{fnv1a(name)}"

    def pod(self, node: Json) -> str:
        """The name of a node's pod."""
        if self.pod_names == "v1":
            return str(node["id"])
        return f"{self.name}-{node['templateName']}-{fnv1a(node['name'])}"

    @property
    def pods(self) -> dict[str, Json]:
        """The nodes that have pods, by name of the pod."""
        return {self.pod(node): node for node in self.nodes.values() if node["type"] == "Pod"}

    @property
    def manifest(self) -> str:
        """The workflow as the persistence agent reports it, and the run keeps it."""
        status: dict[str, Any] = {"phase": self.phase, "nodes": self.nodes}
        if self.compressed:
            packed = base64.b64encode(gzip.compress(json.dumps(self.nodes).encode())).decode()
            status = {"phase": self.phase, "compressedNodes": packed}
        annotations = {"workflows.argoproj.io/pod-name-format": self.pod_names}
        return json.dumps({"metadata": {"name": self.name, "annotations": annotations}, "status": status})

    def retry(self) -> None:
        """ "Retry" in the UI: `GenerateRetryExecution`, backend/src/common/util/workflow.go.

        What went well stays, the nodes behind the hook of the exit handler too, which its prefix does not match; failed
        groups go on; all else is taken away.
        """
        for node_id, node in list(self.nodes.items()):
            if node["phase"] in ("Succeeded", "Skipped"):
                continue
            if node["type"] == "DAG":
                node.update(phase="Running", message="", finishedAt=None)
            else:
                del self.nodes[node_id]
        self.phase = "Running"

    def task_details(self, run_id: str) -> list[Json]:
        """All nodes: `toModelTasks` and `toApiPipelineTaskDetail`, backend/src/apiserver/server/api_converter.go.

        None of a compressed workflow: `reportTasksFromExecution`, backend/src/apiserver/server/report_server.go. The
        children are left out.
        """
        return [
            {
                "run_id": run_id,
                "task_id": f"{fnv1a(run_id + name):08d}-0000-4000-8000-000000000000",  # a UUID of the database
                "display_name": node["displayName"],
                "create_time": f"{_BEGAN:%Y-%m-%dT%H:%M:%SZ}",  # the workflow's
                "start_time": node["startedAt"],
                "end_time": node["finishedAt"] or _UNSTARTED,
                "state": _V2[node["phase"]],
            }
            for name, node in sorted(self.nodes.items())
            if not self.compressed
        ]


def fnv1a(text: str) -> int:
    """Go's `fnv.New32a`."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
