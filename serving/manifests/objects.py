"""Rendered objects: dictionaries, one for each YAML document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

# The ConfigMap with the placeholder of the version in manifests/.
PINNED = "model-models-v1"
BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


def containers(objects: list[Object]) -> Iterator[Object]:
    """All containers of all pod templates."""
    for each in objects:
        pod = each.get("spec", {}).get("template", {}).get("spec", {})
        yield from [*pod.get("initContainers", []), *pod.get("containers", [])]
