"""Writing values into `module.yaml`, with its comments and its order as they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from slipway.errors import ConfigError
from slipway.module_kit.config import FILE, read_config
from slipway.stores.storage import write_text
from slipway.strict_yaml import one_line


def set_values(folder: Path, values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Writes values by section and key, such as `{"training": {"epochs": 3}}`; returns what changed, a line each.

    Raises:
        ConfigError: the file is not as it was thought to be; nothing is written then.
    """
    path = folder / FILE
    before, text = read_config(folder), path.read_bytes().decode()
    wanted, changed, changes = before.model_dump(), [], []
    for section, keys in values.items():
        for key, value in keys.items():
            old = wanted[section].get(key)
            if old != value:
                changes.append(f"{section}.{key}: {one_line(old)} -> {one_line(value)}")
                wanted[section][key] = value
                changed.append((section, key, one_line(value)))
    with TemporaryDirectory(prefix="slipway-module-") as scratch:
        try:
            for one in changed:
                text = _set(text, *one)
            (Path(scratch) / FILE).write_bytes(text.encode())
            written = read_config(scratch).model_dump() == type(before).model_validate(wanted).model_dump()
        except (ConfigError, yaml.YAMLError):  # such as an alias of a value that was replaced
            written = False
    if not written:
        listed = "\n  ".join(changes)
        raise ConfigError(f"{path} is written in a way that cannot be edited here; change by hand\n  {listed}")
    if changes:
        write_text(str(path), text)
    return changes


def _set(text: str, section: str, key: str, value: str) -> str:
    """The text with one value replaced, or a key added at the beginning of its section."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    found = _find(root, section)
    if found is None:
        return f"{text.rstrip()}\n{section}:\n  {key}: {value}\n"
    if isinstance(found, yaml.MappingNode) and isinstance(old := _find(found, key), yaml.Node):
        key_column = found.value[0][0].start_mark.column
        # The items of a list may stand right below their key, where a value may not.
        indent = "  " if not found.flow_style and old.start_mark.column <= key_column else ""
        return text[: old.start_mark.index] + indent + value + text[_end(old) :]
    if not isinstance(found, yaml.MappingNode) or not found.value:
        return text[: found.start_mark.index] + f"{{{key}: {value}}}" + text[_end(found) :]
    first = found.value[0][0].start_mark
    separator = ", " if found.flow_style else "\n" + " " * first.column
    return text[: first.index] + f"{key}: {value}{separator}" + text[first.index :]


def _find(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _end(node: yaml.Node) -> int:
    """Where a value ends. YAML takes the lines after a block, and their comments, for a part of it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)
