"""The Argo workflow that is a run on Kubeflow: its steps, and the pods that ran them.

argocompiler (backend/src/v2/compiler/argocompiler/dag.go and container.go of kubeflow/pipelines) makes three nodes of
each step: `train-model-driver`, a pod that resolves the inputs and looks into the cache; `train-model`; and in it
`executor`, the step's own pod, which is skipped where the cache has the result. Argo names a node by its path,
`slipway-training-x7k2p.root.slipway-training.train-model.executor`, and appends `(0)`, `(1)` for attempts: those of
steps with retries, and with the manifests of Kubeflow 2.17 those of every node.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from delivery.package import step_name
from slipway.runs.record import Step, StepState
from slipway.runs.states import KUBEFLOW_STEPS

_DRIVER, _GROUP_DRIVER = "system-container-driver", "system-dag-driver"  # templates of steps' drivers, and of groups'
_ATTEMPT = re.compile(r"\(\d+\)(?=\.|$)")
_LOG = "main-logs"  # Argo's name for the archived log of a pod


@dataclass(frozen=True)
class Node:
    """A node of the workflow; `pod` is the name of its pod, empty for a node that groups others."""

    id: str
    name: str
    template: str
    state: StepState
    message: str
    started: float | None
    finished: float | None
    pod: str
    archived: bool


def read_steps(workflow: dict[str, Any]) -> Iterator[tuple[Step, list[Node]]]:
    """The steps that a run has come to, each with the nodes of its pods in the order of their starts."""
    nodes = _nodes(workflow)
    ended = KUBEFLOW_STEPS.get(workflow.get("status", {}).get("phase", "")) in ("succeeded", "failed")
    # Where a group of steps was repeated, its last attempt counts.
    drivers = {
        _ATTEMPT.sub("", name): node
        for name, node in nodes.items()
        if node.template == _DRIVER and not name.endswith(")")
    }
    for driver in drivers.values():
        name = driver.name.removesuffix("-driver")
        pods = [node for path, node in nodes.items() if node.pod and path.startswith((f"{name}.", f"{name}("))]
        if driver.state == "failed":
            pods = _pods(nodes, driver.name)
        yield _step(driver, nodes.get(name), pods, ended=ended), pods


def read_failure(workflow: dict[str, Any]) -> str:
    """Why a run failed in which no step did: the driver of a group of steps, or the workflow itself."""
    nodes = _nodes(workflow)
    for name, node in nodes.items():
        if node.template == _GROUP_DRIVER and node.state == "failed" and not name.endswith(")"):
            last = _pods(nodes, name)[-1:]
            said = [one.message or f"the log of its pod {one.pod} says why" for one in last] or [node.message]
            return f"{name.rpartition('.')[2]} failed: {said[0]}"
    return str(workflow.get("status", {}).get("message", ""))


def _pods(nodes: dict[str, Node], name: str) -> list[Node]:
    """The nodes of a driver's pods: of the node itself, or of its attempts."""
    return [node for path, node in nodes.items() if node.pod and (path == name or path.startswith(f"{name}("))]


def _step(driver: Node, node: Node | None, pods: list[Node], *, ended: bool) -> Step:
    name = step_name(driver.name.rpartition(".")[2].removesuffix("-driver"))
    last = pods[-1] if pods else None
    if driver.state == "failed":  # Argo omits the step
        message = (last and last.message) or driver.message or "the reason is in its log"
        return Step(name=name, state="failed", started=driver.started, error=f"the step's driver failed: {message}")
    if node is None or node.state == "skipped":
        return Step(name=name, state="skipped" if node or ended else "pending")
    if node.state == "running" and last and last.state == "pending":
        return Step(name=name, state="pending", error=last.message or None)
    took = round(node.finished - node.started, 3) if node.started and node.finished else None
    return Step(
        name=name,
        state=node.state,
        started=node.started,
        seconds=took if node.state != "running" else None,
        cached=node.state == "succeeded" and last is None,
        error=((last and last.message) or node.message or None) if node.state == "failed" else None,
    )


def _nodes(workflow: dict[str, Any]) -> dict[str, Node]:
    """All nodes by name, in the order of their starts."""
    return {node.name: node for node in sorted(_read_nodes(workflow), key=lambda node: node.started or 0.0)}


def _read_nodes(workflow: dict[str, Any]) -> Iterator[Node]:
    metadata, status = workflow.get("metadata", {}), workflow.get("status", {})
    found = status.get("nodes") or {}
    if packed := status.get("compressedNodes"):  # from 1 MiB on: workflow/packer/packer.go of Argo
        found = json.loads(gzip.decompress(base64.b64decode(packed)))
    by_id = metadata.get("annotations", {}).get("workflows.argoproj.io/pod-name-format") == "v1"
    for node in found.values():
        # RetrievePodName, backend/src/common/util/workflow.go
        pod = node["id"] if by_id else f"{metadata['name']}-{node.get('templateName')}-{node['id'].rpartition('-')[2]}"
        yield Node(
            id=node["id"],
            name=node["name"],
            template=node.get("templateName", ""),
            state=KUBEFLOW_STEPS.get(node.get("phase", ""), "unknown"),
            message=node.get("message", ""),
            started=_seconds(node.get("startedAt")),
            finished=_seconds(node.get("finishedAt")),
            pod=pod if node["type"] == "Pod" else "",
            archived=any(one["name"] == _LOG for one in node.get("outputs", {}).get("artifacts", ())),
        )


def _seconds(moment: str | None) -> float | None:
    return datetime.fromisoformat(moment).timestamp() if moment else None
