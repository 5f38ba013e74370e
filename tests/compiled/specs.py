"""Specs of the training pipeline: the expected one (one file, and what differs by platform) and compiled ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from delivery.compile import compile_pipeline
from settings.load import load_settings
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
    return spec


def compile_for(target: RemoteTarget, output: Path) -> dict[str, Any]:
    compile_pipeline("training", target, IMAGE, load_settings().compute, output)
    spec: dict[str, Any] = yaml.safe_load(output.read_text())
    return spec


def tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for graph in [spec["root"], *spec["components"].values()]:
        for name, task in graph.get("dag", {}).get("tasks", {}).items():
            found[name.replace("-", "_")] = task
    return found
