"""Compiles the training pipeline for one platform, and refuses what that platform cannot run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from delivery.portability import Platform, problems
from slipway.compute import Compute
from slipway.errors import ConfigError
from slipway.stores.storage import write_text

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

# Vertex takes kfp's `backoff_max_duration` for the longest pause between two attempts, of at most 3600 s. Argo takes it
# for a window that opens with the first: later none begins, and those in it are killed at its end, so it is longer than
# any step (workflow/controller/operator.go, processNodeRetries). It has to be there: without it kfp makes it 0.
_BACKOFF_MAX: dict[Platform, str] = {"kubeflow": "2592000s", "vertex": "300s"}


def compile_training(target: Platform, image: str, compute: dict[str, Compute], output: Path) -> None:
    """Writes the pipeline's spec as YAML, or JSON by the file's name.

    Args:
        target: The platform.
        image: Image of all tasks, by digest.
        compute: Task name, or `default`, to its resources.
        output: File to write.

    Raises:
        ConfigError: `target` cannot run it; the message has each task and what it is about.
    """
    if not image:
        raise ConfigError("no image: give --image REPOSITORY@sha256:…, or set image in settings/<environment>.yaml")
    from kfp import dsl

    from pipelines.training import TaskDefaults, build_training_pipeline

    # Vertex's API knows a job by its name alone; its UUID is seen by nothing but the steps.
    job = dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER if target == "vertex" else dsl.PIPELINE_JOB_ID_PLACEHOLDER
    defaults = TaskDefaults(image, compute, job, dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER, _BACKOFF_MAX[target])
    pipeline = build_training_pipeline(defaults)
    unknown = set(compute) - set(task_names(pipeline)) - {"default"}
    if unknown:
        raise ConfigError(
            f"compute names no task: {', '.join(sorted(unknown))}; tasks are {', '.join(sorted(task_names(pipeline)))}"
        )
    write_spec(target, pipeline, output)


def task_names(pipeline: BaseComponent) -> list[str]:
    """Names of all tasks, as their folders under components/."""
    from delivery.graph import edges

    return list(edges(_as_dict(pipeline.pipeline_spec)))


def write_spec(target: Platform, pipeline: BaseComponent, output: Path) -> None:
    """Checks a pipeline for a platform and writes what kfp's compiler makes of it.

    Raises:
        ConfigError: the platform cannot run it.
    """
    if output.suffix not in {".yaml", ".yml", ".json"}:
        raise ConfigError(f"{output}: kfp wants a file that ends in .yaml or .json")
    spec, platform_spec = _as_dict(pipeline.pipeline_spec), _as_dict(pipeline.platform_spec)
    found = problems(target, spec, platform_spec)
    if found:
        raise ConfigError(f"{target} cannot run this pipeline:\n  " + "\n  ".join(sorted(found)))
    _parse_strictly(spec)
    documents = [document for document in (spec, platform_spec) if document]
    if output.suffix == ".json":
        text = json.dumps(spec, indent=2, sort_keys=True) + "\n"
    else:
        text = yaml.safe_dump_all(documents, sort_keys=True)
    write_text(str(output), text)


def _as_dict(message: Any) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    content: dict[str, Any] = MessageToDict(message)
    return content


def _parse_strictly(spec: dict[str, Any]) -> None:
    """Reads the spec back as the backend does; an unknown field is an error there."""
    from google.protobuf.json_format import ParseDict
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

    ParseDict(spec, PipelineSpec(), ignore_unknown_fields=False)
