"""The bytes of a module: their digest, and publishing them under it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway import storage
from slipway.errors import ModuleError, StoreError

SIZE_LIMIT = 10_000_000
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

# What a step's code does not depend on is left out of its view, so that an edit there keeps the step cached.
_NOT_CODE = frozenset({"module.yaml", "schema.pbtxt", "sample.py", "README.md"})
_NOT_PREPROCESSING = _NOT_CODE | {"model.py"}


@dataclass(frozen=True)
class PublishedModule:
    """One content of a module; each URI ends in the digest of what it holds."""

    name: str
    digest: str
    uri: str
    preprocessing_uri: str
    model_uri: str


def digest_module(folder: str | Path) -> str:
    """SHA-256, in hex, over the relative path and the bytes of every file of a module's folder.

    Caches and hidden files do not count.

    Raises:
        ModuleError: the folder is missing, too large, or holds a symbolic link.
    """
    return _digest(read_files(Path(folder)))


def publish_module(folder: str | Path, root: str | Path) -> PublishedModule:
    """Copies a module to `<root>/<name>/<digest>/`, and its views for transform and training.

    Each folder appears at once; one that is there is reused, and one that was damaged is replaced.

    Args:
        folder: The module; its name is the module's name.
        root: Where modules are published: a local directory or `gs://`.

    Raises:
        ModuleError: the folder is no module, too large, or holds a symbolic link.
        StoreError: the copy cannot be written.
    """
    source = Path(folder).resolve()
    if not NAME.fullmatch(source.name):
        raise ModuleError(f"{folder}: a module's name is lower-case letters, digits and _, not {source.name!r}")
    files = read_files(source)
    views = [files, _without(files, _NOT_PREPROCESSING), _without(files, _NOT_CODE)]
    try:
        uris = [_publish(view, storage.join(str(root), source.name)) for view in views]
    except OSError as error:
        raise StoreError(f"cannot publish {source} under {root}: {error}") from error
    return PublishedModule(source.name, _digest(files), *uris)


def read_files(folder: Path) -> dict[str, bytes]:
    """The files of a module by relative POSIX path, sorted; see `digest_module`."""
    if not folder.is_dir():
        raise ModuleError(f"{folder} is not a directory; a module is a folder with a module.yaml")
    paths = sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())
    sizes = {path: path.stat().st_size for path in paths}
    if sum(sizes.values()) > SIZE_LIMIT:
        largest = max(sizes, key=lambda path: sizes[path])
        raise ModuleError(
            f"{folder} holds {sum(sizes.values()):,} bytes; a module is code, {SIZE_LIMIT:,} bytes at most. "
            f"Move data out of it: {largest.relative_to(folder)} has {sizes[largest]:,} bytes"
        )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _walk(folder: Path) -> list[Path]:
    found: list[Path] = []
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name == "__pycache__" or entry.suffix == ".pyc":
            continue
        if entry.is_symlink():
            raise ModuleError(f"{entry} is a symbolic link; copy the file itself into the module")
        found += _walk(entry) if entry.is_dir() else [entry]
    return found


def _digest(files: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for path, content in files.items():
        # Lengths keep the border between a path and its content unambiguous.
        total.update(f"{len(path.encode())}:{path}:{len(content)}:".encode())
        total.update(content)
    return total.hexdigest()


def _without(files: Mapping[str, bytes], names: frozenset[str]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path not in names}


def _publish(files: Mapping[str, bytes], parent_uri: str) -> str:
    digest = _digest(files)
    if storage.is_remote(parent_uri):
        for path, content in files.items():
            storage.write_bytes(storage.join(parent_uri, digest, path), content)
        return storage.join(parent_uri, digest)
    target = storage.local_path(parent_uri).absolute() / digest
    if not _is_intact(target, digest):
        _write(files, target, digest)
    return str(target)


def _write(files: Mapping[str, bytes], target: Path, digest: str) -> None:
    parent = target.parent
    parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=parent))
    try:
        for path, content in files.items():
            copy = staging / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
        staging.chmod(0o755)
        if target.exists():
            target.rename(staging.with_name(f"{staging.name}-damaged"))
        try:
            staging.rename(target)
        except OSError:
            # Another run published the same bytes in between.
            if not _is_intact(target, digest):
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(f"{staging}-damaged", ignore_errors=True)


def _is_intact(folder: Path, digest: str) -> bool:
    return os.path.lexists(folder) and _digest(read_files(folder)) == digest
