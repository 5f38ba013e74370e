"""Kills a process at a chosen file operation, and finds versions that are not whole."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

OPERATIONS = frozenset(
    {
        "open", "write", "flush", "fsync", "close", "mkdir", "rename", "replace", "unlink", "rmdir",
        "flock", "copyfileobj", "sendfile", "__exit__", "readinto", "read",
    }
)  # fmt: skip


def half_versions(base: Path) -> list[str]:
    """What a poller would see that is not exactly what a manifest promises; there must be nothing, ever."""
    problems = []
    for folder in base.iterdir() if base.is_dir() else ():
        if not folder.name.isdigit():
            continue
        manifest = base / ".manifests" / f"{folder.name}.json"
        if not manifest.is_file():
            problems.append(f"{folder} has no manifest")
            continue
        promised = {file["path"]: file["sha256"] for file in json.loads(manifest.read_text())["files"]}
        found = {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }
        if found != promised:
            problems.append(f"{folder}: {found.keys() ^ promised.keys()} or their content differ")
    return problems


class _Killer:
    """Kills this process at the n-th file operation: calls and returns of C functions both count."""

    def __init__(self, operation: int) -> None:
        self._left = operation

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        if event in ("c_call", "c_return") and function.__name__ in OPERATIONS:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def killed_at(operation: int, work: Callable[[], object]) -> bool:
    """Whether work in a child was killed; False when it ended before that operation."""
    child = os.fork()
    if child == 0:
        sys.setprofile(_Killer(operation))
        work()
        sys.setprofile(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
