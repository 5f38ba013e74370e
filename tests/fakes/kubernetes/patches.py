"""The patches that kubectl sends: JSON Patch (RFC 6902) of `rollout undo`, merge patch (RFC 7386) of `annotate`.

A strategic merge patch, as of `rollout restart`, differs from the latter in lists alone, and none is taken here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from tests.fakes.kubernetes.objects import Object, RefusalError


def json_patch(live: Object, operations: list[Object]) -> Object:
    """Replaces, adds and removes fields of objects; paths through lists are not needed."""
    changed = copy.deepcopy(live)
    for one in operations:
        *path, name = [part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]]
        holder: Any = changed
        for part in path:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if not isinstance(holder, dict) or (one["op"] in ("replace", "remove") and name not in holder):
            raise RefusalError(422, "Invalid", "the server rejected our request due to an error in our request")
        if one["op"] == "remove":
            del holder[name]
        else:
            assert one["op"] in ("add", "replace"), one
            holder[name] = one["value"]
    return changed


def merge_patch(live: Any, patch: Any) -> Any:
    """Fields that are null go."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(live) if isinstance(live, dict) else {}
    for name, value in patch.items():
        merged[name] = merge_patch(merged.get(name), value)
    return {name: value for name, value in merged.items() if value is not None}


def strategic_merge_patch(live: Any, patch: Any) -> Any:
    assert "[" not in json.dumps(patch), patch
    return merge_patch(live, patch)


PATCHES: dict[str, Callable[[Any, Any], Any]] = {
    "application/json-patch+json": json_patch,
    "application/merge-patch+json": merge_patch,
    "application/strategic-merge-patch+json": strategic_merge_patch,
}
