"""Publishes modules to the place where runs find them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipway.module_kit.check import check_module
from slipway.stores.module_store import PublishedModule, is_published, publish_module, read_files


@dataclass(frozen=True)
class Synced:
    """A published module; `uploaded` is false if it was there already."""

    module: PublishedModule
    uploaded: bool


def sync_module(folder: Path, root: str) -> Synced:
    """Checks a module and publishes it under its digest, unless it is there.

    Args:
        folder: The module.
        root: Local directory or gs:// URI; the module goes to `<root>/<name>/<digest>/`.

    Raises:
        ModuleError: the module breaks the contract, is too large or holds a symbolic link.
        StoreError: it cannot be written, or other files are in its place.
    """
    check_module(folder)
    was_there = is_published(folder.resolve().name, read_files(folder), root)
    return Synced(publish_module(folder, root), not was_there)
