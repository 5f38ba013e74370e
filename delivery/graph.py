"""Tasks and edges of a compiled pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent


def spec_of(pipeline: BaseComponent) -> dict[str, Any]:
    """The PipelineSpec of a pipeline, as a dict."""
    from google.protobuf.json_format import MessageToDict

    spec: dict[str, Any] = MessageToDict(pipeline.pipeline_spec)
    return spec


def step_name(task: str) -> str:
    """The folder of a task's component: kfp's `train-model` is `train_model`."""
    return task.replace("-", "_")


def edges(spec: dict[str, Any]) -> dict[str, list[str]]:
    """Each task with the tasks that it needs, in topological order, those of groups included.

    Args:
        spec: A PipelineSpec as a dict, as `kfp.compiler` writes it.
    """
    found = dict(_edges_of(spec, spec["root"]["dag"]["tasks"]))
    ordered: dict[str, list[str]] = {}
    # The exit handler needs nothing but runs last.
    exit_tasks = {step_name(name) for name, task in spec["root"]["dag"]["tasks"].items() if "triggerPolicy" in task}
    while len(ordered) < len(found) - len(exit_tasks):
        for name, needs in found.items():
            if name not in ordered and name not in exit_tasks and all(need in ordered for need in needs):
                ordered[name] = needs
    return ordered | {name: [] for name in sorted(exit_tasks)}


def _edges_of(spec: dict[str, Any], tasks: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for name, task in tasks.items():
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            yield from _edges_of(spec, component["dag"]["tasks"])
        else:
            yield step_name(name), sorted(map(step_name, task.get("dependentTasks", ())))


def titles(spec: dict[str, Any]) -> dict[str, str]:
    """Display name of each task to its step: platforms report tasks by either."""
    graphs = [spec["root"], *spec["components"].values()]
    return {
        task["taskInfo"]["name"]: step_name(name)
        for graph in graphs
        for name, task in graph.get("dag", {}).get("tasks", {}).items()
        if "dag" not in spec["components"][task["componentRef"]["name"]]
    }
