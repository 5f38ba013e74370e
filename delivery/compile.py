"""Compiles a pipeline for one platform, one module and one environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from delivery.accelerators import accelerator_problems
from delivery.manifests import require_digest
from delivery.package import (
    ask_for_disk,
    call_group_by_pipeline,
    edges,
    leave_out_implied_edges,
    pods_of,
    problems,
    s3_login,
    spec_of,
)
from slipway.compute import Compute, Distribution
from slipway.errors import ConfigError
from slipway.stores.storage import write_text
from slipway.targets import RemoteTarget

# Vertex takes kfp's `backoff_max_duration` for the longest pause between two attempts, of at most 3600 s. Argo takes it
# for a window that opens with the first: later none begins, and those in it are killed at its end, so it is longer than
# any step (workflow/controller/operator.go, processNodeRetries). It has to be there: without it kfp makes it 0.
_BACKOFF_MAX: dict[RemoteTarget, str] = {"kubeflow": "2592000s", "vertex": "300s"}
_TAKE_TOKENS = ("submit_training",)


def require_image(image: str) -> None:
    """Raises a ConfigError for an image that is missing, or not given by digest."""
    if not image:
        raise ConfigError("no image: give --image REPOSITORY@sha256:…, or set image in settings/<environment>.yaml")
    require_digest(image)  # the platform's check would name it for each task


@dataclass(frozen=True)
class Destination:
    """Where the compiled pipeline runs.

    Attributes:
        target: The platform.
        image: Image of the tasks, by digest.
        gpu_image: Image of those with an accelerator, by digest.
        compute: Resources by task. Tasks of other pipelines may be among them, and `default`.
        pipeline_root: Root of the steps' artifacts; the platform's own if empty.
        limits: Fields of kfp's `PipelineConfig` for Kubeflow: when a run is ended, and when what it left is removed.
        cached: Whether steps may be served from the platform's cache.
        s3_secret: Secret of Kubernetes with the steps' login to S3, for Kubeflow.
        network_attachment: Attachment by which a custom job of Vertex reaches a VPC, as the run's other steps do.
    """

    target: RemoteTarget
    image: str
    compute: Mapping[str, Compute]
    pipeline_root: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)
    cached: bool = True
    s3_secret: str = ""
    gpu_image: str = ""
    network_attachment: str = ""


def _check_workers(destination: Destination, arguments: Mapping[str, Any]) -> None:
    """Raises a ConfigError if several workers cannot train there."""
    workers = arguments.get("distribution", {}).get("workers", 1)
    root = destination.pipeline_root
    if workers > 1 and destination.target == "kubeflow" and not root.startswith(("gs://", "s3://", "minio://")):
        raise ConfigError(
            f"distribution.workers = {workers}: workers on Kubeflow read the transformed examples where artifacts are, "
            f"and cannot read {root or 'the store of the installation'}: set kubeflow.pipeline_root, or remote_home, "
            "to gs://BUCKET/PATH or s3://BUCKET/PATH"
        )


def compile_pipeline(name: str, destination: Destination, arguments: Mapping[str, Any], output: Path) -> None:
    """Writes a pipeline's spec as YAML, or JSON by the file's name.

    What only Kubeflow knows, as the limits of a run and the nodes of a pod, is a second document of YAML.

    Args:
        name: Name of a registered pipeline.
        destination: Where it runs.
        arguments: What its steps are given; the fields among it are defaults.
        output: File to write.

    Raises:
        ConfigError: there is no such pipeline, a value is missing or wrong, or no platform can run a task.
    """
    target, image, compute = destination.target, destination.image, destination.compute
    require_image(image)
    if output.suffix not in {".yaml", ".yml", ".json"}:
        raise ConfigError(f"{output}: kfp wants a file that ends in .yaml or .json")
    _check_workers(destination, arguments)
    from kfp import dsl

    from components import step_names
    from pipelines.platform import TaskDefaults
    from pipelines.registry import find_pipeline

    # Vertex's API knows a job by its name alone; its UUID is seen by nothing but the steps.
    job = dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER if target == "vertex" else dsl.PIPELINE_JOB_ID_PLACEHOLDER
    defaults = TaskDefaults(
        image,
        destination.gpu_image,
        target,
        compute,
        job,
        dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
        _BACKOFF_MAX[target],
        destination.cached,
        destination.network_attachment,
    )
    spec = spec_of(find_pipeline(name).build(defaults, arguments))
    if destination.pipeline_root:
        spec["defaultPipelineRoot"] = destination.pipeline_root
    if target == "kubeflow":
        leave_out_implied_edges(spec)
        ask_for_disk(spec, compute)
        spec = call_group_by_pipeline(spec)
    tasks = {*edges(spec), *step_names()}
    if unknown := compute.keys() - tasks - {"default"}:
        raise ConfigError(f"compute names no task: {', '.join(sorted(unknown))}; tasks are {', '.join(sorted(tasks))}")
    distribution = Distribution.model_validate(arguments.get("distribution", {}))
    refused = list(accelerator_problems(target, compute, edges(spec), destination.gpu_image, distribution))
    if found := refused or problems(spec, {}):
        raise ConfigError(f"{target} cannot run this pipeline:\n  " + "\n  ".join(found))
    kubernetes: dict[str, Any] = {"pipelineConfig": dict(destination.limits)} if destination.limits else {}
    if target == "kubeflow":
        executors = pods_of(spec, compute, _TAKE_TOKENS)
        if destination.s3_secret:
            login = s3_login(destination.s3_secret)
            executors = {name: login | executors.get(name, {}) for name in spec["deploymentSpec"]["executors"]}
        if executors:
            kubernetes["deploymentSpec"] = {"executors": executors}
    documents = [spec, {"platforms": {"kubernetes": kubernetes}}] if kubernetes else [spec]
    as_json = output.suffix == ".json"
    if as_json and kubernetes:
        raise ConfigError(
            f"{output}: JSON has no room for what only Kubeflow knows, as the limits of a run; give a file that ends "
            "in .yaml"
        )
    text = (
        json.dumps(spec, indent=2, sort_keys=True) + "\n"
        if as_json
        else yaml.dump_all(documents, Dumper=yaml.CSafeDumper)
    )
    write_text(str(output), text)
