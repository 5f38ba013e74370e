"""A base path with versions, as a push leaves them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass
class VersionsOnDisk:
    """Versions of one model; each appears by one rename, and is made of hard links."""

    model: Path
    base: Path

    def __post_init__(self) -> None:
        self.base.mkdir(parents=True, exist_ok=True)

    def add(self, number: int, damage: Callable[[Path], object] = lambda path: None) -> Path:
        """Adds a version, damaged before anybody can see it."""
        staging = self.base / ".staging" / str(number)
        shutil.copytree(self.model, staging, copy_function=os.link)
        damage(staging)
        return staging.rename(self.base / str(number))

    def remove(self, number: int) -> None:
        """Takes a version away, by one rename."""
        (self.base / str(number)).rename(self.base / ".staging" / f"gone-{number}")


def without(name: str) -> Callable[[Path], object]:
    """A version without a file or a directory."""

    def damage(path: Path) -> None:
        target = path / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()

    return damage


def cut(name: str) -> Callable[[Path], object]:
    """A version of which a file ends in its middle."""

    def damage(path: Path) -> None:
        content = (path / name).read_bytes()
        replace(path / name, content[: len(content) // 2])

    return damage


def replace(path: Path, content: bytes) -> None:
    """Writes a file anew: its old bytes have other names."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
