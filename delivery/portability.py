"""What no platform can run, found when compiling or submitting instead of in the cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from delivery.graph import step_name

# Of Linux: MAX_ARG_STRLEN (32 pages of 4 KiB) with the closing zero.
ARGUMENT_BYTES = 131_071
# Of an executor's input, beside the parameters that are known before the run: artifacts, outputs of other steps.
_RESERVED_BYTES = 8_192

_BY_DIGEST = re.compile(r"^[^\s@]+@sha256:[0-9a-f]{64}$")


def problems(spec: dict[str, Any], arguments: dict[str, Any] | None = None) -> list[str]:
    """Why a pipeline cannot run, each with the task's name; empty if it can.

    Args:
        spec: The PipelineSpec as a dict.
        arguments: Of a run; what they do not name is left out of account.
    """
    return sorted(_problems(spec, spec["root"], arguments or {}))


def _problems(spec: dict[str, Any], graph: dict[str, Any], values: dict[str, Any]) -> Iterator[str]:
    for name, task in graph["dag"]["tasks"].items():
        component = spec["components"][task["componentRef"]["name"]]
        given = _given(task, values)
        if "dag" in component:
            yield from _problems(spec, component, given)
        else:
            container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
            yield from (f"{step_name(name)}: {problem}" for problem in _task_problems(container, given))


def _given(task: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a task that are known: constants, and those that its graph was given."""
    found = {}
    for name, source in task.get("inputs", {}).get("parameters", {}).items():
        if "runtimeValue" in source:
            found[name] = source["runtimeValue"].get("constant")
        elif source.get("componentInputParameter") in values:
            found[name] = values[source["componentInputParameter"]]
    return found


def _task_problems(container: dict[str, Any], given: dict[str, Any]) -> Iterator[str]:
    image = container["image"]
    if not _BY_DIGEST.match(image):
        yield f"the image {image!r} is not named by digest; give REPOSITORY@sha256:…, since a tag can move"
    longest = max(map(_size, container.get("command", [])), default=0)
    if longest > ARGUMENT_BYTES:
        yield f"its code has {longest:,} bytes; Linux takes {ARGUMENT_BYTES:,} in one argument. Move code elsewhere"
    sizes = {name: _size(json.dumps({name: value}, ensure_ascii=False)) for name, value in given.items()}
    total = sum(sizes.values()) + _RESERVED_BYTES
    if total > ARGUMENT_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        yield (
            f"its parameters have {total:,} bytes with {_RESERVED_BYTES:,} for artifacts; Linux takes "
            f"{ARGUMENT_BYTES:,} in one argument. The largest is {largest} with {sizes[largest]:,}"
        )


def _size(text: str) -> int:
    return len(text.encode())
