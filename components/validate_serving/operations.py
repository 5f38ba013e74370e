"""Whether the TensorFlow Serving of the cluster knows the operations of a graph.

The step's own server runs the TensorFlow that trained. Another release, or an image without a library that is installed
here, refuses the model when it is rolled out: `Op type not registered`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serving.release import IMAGE, Release, read_release
from slipway.evaluation.serving_checks import ServingCheck

# Their kernels are part of TensorFlow's Python package.
_PYTHON = {"EagerPyFunc", "PyFunc", "PyFuncStateless"}


def check_operations(graph: Any, release: Release | None = None) -> ServingCheck:
    """Operations, attributes and version of a `GraphDef`, against the release that serves."""
    release = release or read_release()
    functions = {function.signature.name for function in graph.library.function}
    problems: dict[str, str] = {}
    count = 0
    if graph.versions.min_consumer > release.graph_version:
        problems[""] = (
            f"the graph needs a TensorFlow that reads graphs of version {graph.versions.min_consumer}, {IMAGE} reads "
            f"those up to {release.graph_version}: save it with TensorFlow {release.version}"
        )
    for place, node in _nodes(graph):
        count += 1
        if node.op in functions:
            continue
        known = release.operations.get(node.op)
        new = sorted(name for name in node.attr if not name.startswith("_") and name not in (known or ()))
        if known is None:
            fault = f"does not know the operation {node.op}"
            fix = "build it from TensorFlow's own operations, or serve with a release that has it (serving/release.py)"
        elif node.op in _PYTHON:
            fault, fix = f"cannot run {node.op}, which calls Python", "use TensorFlow's own operations instead"
        elif new:
            fault = f"does not know the attribute {', '.join(new)} of the operation {node.op}"
            fix = f"save the model with TensorFlow {release.version}"
        else:
            continue
        problems.setdefault(fault, f"{IMAGE} {fault}, at {node.name} in {place}: {fix}")
    return ServingCheck.of("operations", [*problems.values()], f"{IMAGE} knows those of all {count} nodes")


def _nodes(graph: Any) -> Iterator[tuple[str, Any]]:
    """The nodes of the graph and of the functions that it calls, each with its place; Python's loader calls others."""
    functions = {function.signature.name: function for function in graph.library.function}
    bodies = [("the graph", graph.node)]
    while bodies:
        place, nodes = bodies.pop()
        for node in nodes:
            yield place, node
            called = [functions.pop(name) for name in {*_called(node)} & functions.keys()]
            bodies += [(f"the function {each.signature.name}", each.node_def) for each in called]


def _called(node: Any) -> Iterator[str]:
    """Names of functions that a node may call."""
    yield node.op
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)
