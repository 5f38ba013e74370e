"""The graph of a compiled pipeline as Kubeflow's UI draws it (`buildDag`, frontend/src/lib/v2/StaticFlow.ts)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BOX = (224, 48)
_SCRIPT = Path(__file__).with_name("dagre.js")
Edge = tuple[str, str]


@dataclass(frozen=True)
class Layout:
    """The picture: its size, and the middle of each box, in pixels. Edges are curves from box to box."""

    width: float
    height: float
    boxes: dict[str, dict[str, float]]


def drawn(spec: dict[str, Any]) -> tuple[list[str], list[Edge]]:
    """Boxes and edges inside the group, in the UI's order: each task, each of its artifacts, each input, each need."""
    [group] = [component["dag"]["tasks"] for component in spec["components"].values() if "dag" in component]
    outputs = {
        name: spec["components"][task["componentRef"]["name"]].get("outputDefinitions", {}).get("artifacts", {})
        for name, task in group.items()
    }
    boxes = [*group, *(f"{name}.{artifact}" for name in group for artifact in outputs[name])]
    found = [(name, f"{name}.{artifact}") for name in group for artifact in outputs[name]]
    for name, task in group.items():
        taken = [given["taskOutputArtifact"] for given in task.get("inputs", {}).get("artifacts", {}).values()]
        found += [(f"{one['producerTask']}.{one['outputArtifactKey']}", name) for one in taken]
    for name, task in group.items():
        given = task.get("inputs", {}).get("parameters", {}).values()
        found += [(one["taskOutputParameter"]["producerTask"], name) for one in given if "taskOutputParameter" in one]
    found += [(need, name) for name, task in group.items() for need in task.get("dependentTasks", ())]
    return boxes, list(dict.fromkeys(found))


def lay_out(boxes: list[str], edges: list[Edge]) -> Layout:
    """What the UI's library, dagre 0.8.5, makes of a graph; skips the test where it is not installed, but not in CI."""
    if not shutil.which("node") or not (_SCRIPT.parent / "node_modules" / "dagre").is_dir():
        reason = "no graph is laid out: it takes Node.js and `npm ci --prefix tests/compiled`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    told = subprocess.run(
        ["node", _SCRIPT],
        input=json.dumps({"boxes": boxes, "edges": edges}),
        capture_output=True,
        text=True,
        check=True,
    )
    return Layout(**json.loads(told.stdout))
