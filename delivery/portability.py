"""What a platform cannot run, found when compiling instead of in the cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from delivery.graph import step_name
from slipway.targets import RemoteTarget

Platform = RemoteTarget

_BY_DIGEST = re.compile(r"^[^\s@]+@sha256:[0-9a-f]{64}$")
# Vertex names accelerators by model; Kubernetes names them by the resource of their device plugin.
_VERTEX_ACCELERATOR = re.compile(r"^(NVIDIA_[A-Z0-9_]+|TPU_V\d\w*)$")


def problems(target: Platform, spec: dict[str, Any], platform_spec: dict[str, Any]) -> list[str]:
    """Why `target` could not run a compiled pipeline, each with the task's name; empty if it can.

    Args:
        target: The platform.
        spec: The PipelineSpec as a dict.
        platform_spec: What kfp-kubernetes and `PipelineConfig` add in a document of its own; empty if nothing.
    """
    found = []
    for task, executor in _executors(spec):
        if "resolver" in executor:
            found.append(
                f"{task}: a resolver; open-source Kubeflow Pipelines has none, and look-ups are components here"
            )
        if "customJob" in executor and target == "kubeflow":
            found.append(f"{task}: a custom job of Vertex; Kubeflow cannot run it")
        container = executor.get("container")
        if container is not None:
            found += [f"{task}: {problem}" for problem in _container_problems(target, container)]
    if target == "vertex" and platform_spec:
        found += _platform_problems(platform_spec)
    return found


def _executors(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    executors = spec["deploymentSpec"]["executors"]
    graphs = [spec["root"], *spec["components"].values()]
    for graph in graphs:
        for name, task in graph.get("dag", {}).get("tasks", {}).items():
            label = spec["components"][task["componentRef"]["name"]].get("executorLabel")
            if label:
                yield step_name(name), executors[label]


def _container_problems(target: Platform, container: dict[str, Any]) -> Iterator[str]:
    image = container["image"]
    if not _BY_DIGEST.match(image):
        yield f"the image {image!r} is not named by digest; give REPOSITORY@sha256:…, since a tag can move"
    accelerator = container.get("resources", {}).get("accelerator", {})
    kind = accelerator.get("resourceType") or accelerator.get("type", "")
    if kind and target == "vertex" and not _VERTEX_ACCELERATOR.match(kind):
        yield f"the accelerator {kind!r} is a Kubernetes resource; Vertex names it like NVIDIA_TESLA_T4"
    if kind and target == "kubeflow" and _VERTEX_ACCELERATOR.match(kind):
        yield f"the accelerator {kind!r} is Vertex's name; Kubernetes wants the resource, like nvidia.com/gpu"


def _platform_problems(platform_spec: dict[str, Any]) -> Iterator[str]:
    for content in platform_spec.get("platforms", {}).values():
        for label, settings in content.get("deploymentSpec", {}).get("executors", {}).items():
            task = step_name(label.removeprefix("exec-"))
            yield f"{task}: {', '.join(sorted(settings))} of kfp-kubernetes; Vertex reads one document only and refuses"
        if content.get("pipelineConfig"):
            yield f"the pipeline: {', '.join(sorted(content['pipelineConfig']))}; Vertex knows no PipelineConfig"
