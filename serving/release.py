"""The release of TensorFlow Serving that serves in the cluster, and what its TensorFlow can run.

`release_ops.txt` lists the operations with their attributes; `python -m tests.serving.test_release` writes it from the
wheel of the same TensorFlow. Operations that begin with `_` are left out: TensorFlow refuses them in a saved graph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

# The one place that says it; tests/serving/test_release.py finds whoever says otherwise. Its minor version is that of
# the TensorFlow that trains: an older server refuses what a newer TensorFlow saves.
VERSION = "2.21.0"
IMAGE = f"tensorflow/serving:{VERSION}"
OPS_FILE = Path(__file__).with_name("release_ops.txt")
HEAD = re.compile(r"# TensorFlow (?P<version>\S+), graphs of version (?P<graph_version>\d+)")


class Release(NamedTuple):
    """What a TensorFlow can run.

    Attributes:
        version: Of TensorFlow.
        graph_version: `TF_GRAPH_DEF_VERSION`, which a graph's `min_consumer` must not exceed.
        operations: Attributes by operation.
    """

    version: str
    graph_version: int
    operations: Mapping[str, frozenset[str]]


@cache
def read_release() -> Release:
    """The release that serves."""
    first, *lines = OPS_FILE.read_text().splitlines()
    head = HEAD.fullmatch(first)
    assert head, f"{OPS_FILE}: write it again with `python -m tests.serving.test_release`"
    named = (line.split(" ") for line in lines)
    operations = {name: frozenset(attributes) for name, *attributes in named}
    return Release(head["version"], int(head["graph_version"]), operations)
