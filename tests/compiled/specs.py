"""The expected spec of the training pipeline: one file, and what differs by platform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from slipway.targets import RemoteTarget

GOLDEN = Path(__file__).parent / "training.yaml"
IMAGE = "europe-docker.pkg.dev/project/slipway/slipway@sha256:" + "0" * 64
# Value in the file to value on the platform.
DIFFERENCES: dict[RemoteTarget, dict[str, str]] = {
    "kubeflow": {},
    "vertex": {"{{$.pipeline_job_uuid}}": "{{$.pipeline_job_resource_name}}", "2592000s": "300s"},
}


def golden_spec(target: RemoteTarget) -> dict[str, Any]:
    text = GOLDEN.read_text()
    for value, other in DIFFERENCES[target].items():
        text = text.replace(value, other)
    spec: dict[str, Any] = yaml.safe_load(text)
    if target == "vertex":  # as kfp writes them
        for task in tasks(spec).values():
            inputs = task.get("inputs", {}).get("artifacts", {}).values()
            needs = {given["taskOutputArtifact"]["producerTask"] for given in inputs} | {
                *task.get("dependentTasks", ())
            }
            task |= {"dependentTasks": sorted(needs)} if needs else {}
    return spec


def tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Tasks of all graphs of a spec by step."""
    found: dict[str, dict[str, Any]] = {}
    for graph in [spec["root"], *spec["components"].values()]:
        for name, task in graph.get("dag", {}).get("tasks", {}).items():
            found[name.replace("-", "_")] = task
    return found


def write_golden(pipeline: str, target: RemoteTarget, image: str, compute: object, output: Path) -> None:
    """In place of `delivery.compile.compile_pipeline`, which takes a second."""
    output.write_text(json.dumps(golden_spec(target)).replace(IMAGE, image))
