"""Server-side apply: which manager owns which field, as structured-merge-diff has it.

https://kubernetes.io/docs/reference/using-api/server-side-apply/ and the list types of the
OpenAPI schemas: a list whose items have keys is merged item by item; any other list is one value.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[Any, ...]
Owners = dict[str, set[Path]]

# The keys of associative lists, by the name of the field that holds them.
LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "conditions": ("type",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ports": ("containerPort", "protocol"),
}
_SERVICE_PORTS = ("port", "protocol")
# The server's own: no manager owns them.
_UNOWNED = {"apiVersion", "kind"}
_UNOWNED_METADATA = {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}


class ConflictError(Exception):
    """Fields that another manager owns with another value: (manager, path)."""

    def __init__(self, fields: list[tuple[str, Path]]) -> None:
        super().__init__(fields)
        self.fields = fields


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every owned field with its value; an item of an associative list is addressed by its keys."""
    name = path[-1] if path else ""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            if (not path and key in _UNOWNED) or (path == ("metadata",) and key in _UNOWNED_METADATA):
                continue
            yield from leaves(child, (*path, key))
    elif isinstance(value, list) and (keys := _keys_of(name, value)):
        for item in value:
            address = _address(item, keys)
            yield (*path, address), None
            yield from leaves(item, (*path, address))
    else:
        yield path, value


def apply(live: dict[str, Any], owners: Owners, wanted: dict[str, Any], manager: str, *, force: bool) -> dict[str, Any]:
    """The live object with what a manager wants; takes back what that manager no longer asks for.

    Raises:
        ConflictError: another manager owns a field with another value.
    """
    fields = dict(leaves(wanted))
    conflicts = [
        (other, path)
        for path, value in fields.items()
        for other, owned in owners.items()
        if other != manager and path in owned and _get(live, path) != value and value is not None
    ]
    if conflicts and not force:
        raise ConflictError(conflicts)
    for other, path in conflicts:
        owners[other].discard(path)
    merged = copy.deepcopy(live)
    dropped = owners.get(manager, set()) - fields.keys()
    for path in sorted(dropped, key=len, reverse=True):
        if not any(path in owned for other, owned in owners.items() if other != manager):
            _remove(merged, path)
    for path, value in fields.items():
        _set(merged, path, copy.deepcopy(value))
    owners[manager] = set(fields)
    return merged


def take_over(before: dict[str, Any], after: dict[str, Any], owners: Owners, manager: str) -> None:
    """After a plain update: the manager owns what it changed, alone."""
    old, new = dict(leaves(before)), dict(leaves(after))
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    for owned in owners.values():
        owned -= changed | (old.keys() - new.keys())
    owners[manager] = owners.get(manager, set()) | changed


def dotted(path: Path) -> str:
    """`.spec.template.spec.containers[name="serving"].image`."""
    return "".join(
        "[" + ",".join(f"{key}={_quoted(value)}" for key, value in part) + "]"
        if isinstance(part, tuple)
        else f".{part}"
        for part in path
    )


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _keys_of(name: Any, items: list[Any]) -> tuple[str, ...]:
    if not items or not all(isinstance(item, dict) for item in items):
        return ()
    keys = LIST_KEYS.get(name, ())
    if name == "ports" and "containerPort" not in items[0]:
        keys = _SERVICE_PORTS
    return keys if keys and all(keys[0] in item for item in items) else ()


def _address(item: dict[str, Any], keys: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    return tuple((key, item.get(key, "TCP" if key == "protocol" else None)) for key in keys)


def _matches(item: Any, address: tuple[tuple[str, Any], ...]) -> bool:
    return isinstance(item, dict) and _address(item, tuple(key for key, _ in address)) == address


def _get(node: Any, path: Path) -> Any:
    for part in path:
        if isinstance(part, tuple):
            node = next((item for item in node or [] if _matches(item, part)), None)
        else:
            node = node.get(part) if isinstance(node, dict) else None
        if node is None:
            return None
    return node


def _set(node: Any, path: Path, value: Any) -> None:
    for part, following in zip(path, (*path[1:], None), strict=True):
        last = following is None
        if isinstance(part, tuple):
            item = next((item for item in node if _matches(item, part)), None)
            if item is None:
                item = {key: held for key, held in part if held is not None}
                node.append(item)
            node = item
        elif last:
            node[part] = value
        else:
            if not isinstance(node.get(part), list if isinstance(following, tuple) else dict):
                node[part] = [] if isinstance(following, tuple) else {}
            node = node[part]


def _remove(node: Any, path: Path) -> None:
    parent = _get(node, path[:-1]) if len(path) > 1 else node
    last = path[-1]
    if isinstance(last, tuple) and isinstance(parent, list):
        parent[:] = [item for item in parent if not _matches(item, last)]
    elif isinstance(parent, dict):
        parent.pop(last, None)
