"""Removes snapshots that nothing names, and bytes that no snapshot points to."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from slipway.data.snapshots.store import Snapshot, list_snapshots, name_uri
from slipway.data.snapshots.take import INCOMING
from slipway.stores import storage

DAY_SECONDS = 86_400
_OWN = re.compile(rf"([0-9a-f]{{64}}/data\.[a-z.]+|{re.escape(INCOMING)}.*)")


@dataclass(frozen=True)
class Prunable:
    """What goes and what stays; `orphans` are bytes that an interrupted snapshot left, `size` is that of all that goes.

    Other files below the folder are not Slipway's: a bucket may have had a folder `data` before.
    """

    removed: list[Snapshot]
    kept: dict[str, list[str]]  # why, by name
    orphans: list[str]
    size: int


def find_prunable(root: str, used: Mapping[str, Sequence[str]], older_than_days: float = 0.0) -> Prunable:
    """What nobody needs.

    Args:
        root: The folder of all snapshots.
        used: By name, what names a snapshot.
        older_than_days: Younger ones are kept. Bytes without a name are kept for a day in any case: a snapshot may be
            under way.
    """
    before, removed, kept = time.time() - older_than_days * DAY_SECONDS, list[Snapshot](), dict[str, list[str]]()
    snapshots = list_snapshots(root)
    for one in snapshots:
        young = [f"it is younger than {older_than_days:g} days"] if one.created > before else []
        if why := [*used.get(one.name, ()), *young]:
            kept[one.name] = why
        else:
            removed.append(one)
    needed = {file.path for one in snapshots if one.name in kept for file in one.files}
    going = {file.path: file.size for one in removed for file in one.files if file.path not in needed}
    orphans = {
        file.name: file.size
        for file in storage.list_files(root)
        if _OWN.fullmatch(file.name) and file.name not in needed | going.keys() and _is_old(file)
    }
    return Prunable(removed, kept, sorted(orphans), sum(going.values()) + sum(orphans.values()))


def prune(root: str, used: Mapping[str, Sequence[str]], older_than_days: float = 0.0) -> Prunable:
    """Removes what `find_prunable` finds, names first; answers it."""
    found = find_prunable(root, used, older_than_days)
    for one in found.removed:
        storage.delete_file(name_uri(root, one.name))
    needed = {file.path for one in list_snapshots(root) for file in one.files}
    for path in {*(file.path for one in found.removed for file in one.files), *found.orphans} - needed:
        storage.delete_file(storage.join(root, path))
        if not storage.is_remote(root):
            with suppress(OSError):  # the folder has another file
                storage.local_path(storage.join(root, path)).parent.rmdir()
    return found


def _is_old(file: storage.StoredFile) -> bool:
    return file.changed < time.time() - DAY_SECONDS
