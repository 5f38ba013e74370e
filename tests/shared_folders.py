"""Folders that the first of xdist's workers writes and all read."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest


def shared_folder(factory: pytest.TempPathFactory, name: str, write: Callable[[Path], object]) -> Path:
    """A folder below the session's temporary one; no test may change it."""
    base = factory.getbasetemp()
    if base.name.startswith("popen-"):  # a worker's own
        base = base.parent
    folder, written = base / name, base / f"{name}.written"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not written.exists():
            write(folder)
            written.touch()
    return folder
