"""Compiles a pipeline for one platform."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from delivery.manifests import require_digest
from delivery.package import edges, leave_out_implied_edges, problems, spec_of
from slipway.compute import Compute
from slipway.errors import ConfigError
from slipway.stores.storage import write_text
from slipway.targets import RemoteTarget

# Vertex takes kfp's `backoff_max_duration` for the longest pause between two attempts, of at most 3600 s. Argo takes it
# for a window that opens with the first: later none begins, and those in it are killed at its end, so it is longer than
# any step (workflow/controller/operator.go, processNodeRetries). It has to be there: without it kfp makes it 0.
_BACKOFF_MAX: dict[RemoteTarget, str] = {"kubeflow": "2592000s", "vertex": "300s"}


def compile_pipeline(name: str, target: RemoteTarget, image: str, compute: Mapping[str, Compute], output: Path) -> None:
    """Writes a pipeline's spec as YAML, or JSON by the file's name.

    Args:
        name: Name of a registered pipeline.
        target: The platform.
        image: Image of all tasks, by digest.
        compute: Resources by task. Tasks of other pipelines may be among them, and `default`.
        output: File to write.

    Raises:
        ConfigError: there is no such pipeline, a value is missing or wrong, or no platform can run a task.
    """
    if not image:
        raise ConfigError("no image: give --image REPOSITORY@sha256:…, or set image in settings/<environment>.yaml")
    require_digest(image)  # `problems` would name it for each task
    if output.suffix not in {".yaml", ".yml", ".json"}:
        raise ConfigError(f"{output}: kfp wants a file that ends in .yaml or .json")
    from kfp import dsl

    from components import step_names
    from pipelines.platform import TaskDefaults
    from pipelines.registry import find_pipeline

    # Vertex's API knows a job by its name alone; its UUID is seen by nothing but the steps.
    job = dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER if target == "vertex" else dsl.PIPELINE_JOB_ID_PLACEHOLDER
    defaults = TaskDefaults(image, compute, job, dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER, _BACKOFF_MAX[target])
    spec = spec_of(find_pipeline(name).build(defaults))
    if target == "kubeflow":
        leave_out_implied_edges(spec)
    tasks = {*edges(spec), *step_names()}
    if unknown := compute.keys() - tasks - {"default"}:
        raise ConfigError(f"compute names no task: {', '.join(sorted(unknown))}; tasks are {', '.join(sorted(tasks))}")
    if found := problems(spec, {}):
        raise ConfigError(f"{target} cannot run this pipeline:\n  " + "\n  ".join(found))
    as_json = output.suffix == ".json"
    text = json.dumps(spec, indent=2, sort_keys=True) + "\n" if as_json else yaml.safe_dump(spec, sort_keys=True)
    write_text(str(output), text)
