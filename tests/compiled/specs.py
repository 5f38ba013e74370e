"""The expected spec of the training pipeline: one file, and what differs by platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipelines.registry import Inputs, Locations, Platform, find_pipeline
from slipway.fields import FIELDS
from slipway.lineage import Lineage
from slipway.module_api import ModuleConfig
from slipway.runs.naming import run_name_of
from slipway.runs.record import RunContext
from slipway.stores.module_store import PublishedModule
from slipway.targets import RemoteTarget

GOLDEN = Path(__file__).parent / "training.yaml"
IMAGE = "europe-docker.pkg.dev/project/slipway/slipway@sha256:" + "0" * 64
# Value in the file to value on the platform.
DIFFERENCES: dict[RemoteTarget, dict[str, str]] = {
    "kubeflow": {},
    "vertex": {
        "{{$.pipeline_job_uuid}}": "{{$.pipeline_job_resource_name}}",
        "2592000s": "300s",
        "taxi-{job}": "{job}",
        '"target":"kubeflow"': '"target":"vertex"',
        "target: kubeflow": "target: vertex",
        "      slipway-training:": "      exit-handler-1:",
        "- slipway-training": "- exit-handler-1",
        "producerTask: slipway-training": "producerTask: exit-handler-1",
    },
}
DATA = "gs://bucket/trips/span-{SPAN}/*.parquet"


def golden_arguments(target: RemoteTarget, pipeline: str = "training") -> dict[str, Any]:
    """What the steps are given: as of a small module, so that an edit of the taxi module leaves the file alone."""
    config = ModuleConfig.model_validate(
        {
            "contract": 1,
            "task": "binary",
            "label": {"column": "tips"},
            "hyperparameters": {"hidden": [64, 32], "rate": 0.003},
        }
    )
    digest = "1" * 64
    home = f"gs://bucket/modules/taxi/{digest}"
    module = PublishedModule("taxi", digest, home, home, home, "", "")
    platform = Platform(target, IMAGE)
    lineage = Lineage(run=run_name_of(target, "taxi"), module="taxi", module_digest=digest, data_uri=DATA,
                      git_revision="2" * 40, image=IMAGE, target=target, seed=42,
                      hyperparameters=config.hyperparameters)  # fmt: skip
    given = find_pipeline(pipeline).arguments(
        Inputs(module, config, DATA, Locations.under("gs://bucket"), platform, Path())
    )
    fields = {name: given[name] for name in FIELDS if name in given}
    context = RunContext(uri=f"gs://bucket/runs/{lineage.run}", lineage=lineage, fields=fields)
    return {"run": context.model_dump_json(), **given}


def golden_spec(target: RemoteTarget) -> dict[str, Any]:
    text = GOLDEN.read_text()
    for value, other in DIFFERENCES[target].items():
        text = text.replace(value, other)
    spec: dict[str, Any] = next(yaml.load_all(text, Loader=yaml.CSafeLoader))
    if target == "vertex":  # as kfp writes them
        add_implied_edges(spec)
    return spec


def add_implied_edges(spec: dict[str, Any]) -> None:
    """Takes `delivery.package.leave_out_implied_edges` back."""
    for task in tasks(spec).values():
        inputs = [given.get("taskOutputArtifact") for given in task.get("inputs", {}).get("artifacts", {}).values()]
        needs = {given["producerTask"] for given in inputs if given} | {*task.get("dependentTasks", ())}
        task |= {"dependentTasks": sorted(needs)} if needs else {}


def tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Tasks of all graphs of a spec by step."""
    found: dict[str, dict[str, Any]] = {}
    for graph in [spec["root"], *spec["components"].values()]:
        for name, task in graph.get("dag", {}).get("tasks", {}).items():
            found[name.replace("-", "_")] = task
    return found
