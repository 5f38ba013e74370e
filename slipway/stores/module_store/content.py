"""The files of a module, their digest, and the parts of them that one step depends on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from slipway.errors import ModuleError

SIZE_LIMIT = 10_000_000
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
# Holds `contract:` of module.yaml in views, which leave module.yaml out.
CONTRACT_FILE = "contract.txt"

# What a step's code does not depend on is left out of its view, so that an edit there keeps the step cached.
SCHEMA = "schema.pbtxt"
_NOT_CODE = frozenset({"module.yaml", SCHEMA, "sample.py", "README.md"})
_NOT_PREPROCESSING = _NOT_CODE | {"model.py"}

Files = Mapping[str, bytes]


class Views(NamedTuple):
    """A module's files by relative POSIX path: all, and those that transforming, training and the schema depend on."""

    whole: Files
    preprocessing: Files
    model: Files
    schema: Files


def digest_module(folder: str | Path) -> str:
    """SHA-256, in hex, over the relative path and the bytes of every file of a module's folder.

    Caches and hidden files do not count; nor do times and permissions.

    Raises:
        ModuleError: the folder is missing, too large, or holds a symbolic link.
    """
    return digest_files(read_files(Path(folder)))


def digest_files(files: Files) -> str:
    """Digest of files in memory; see `digest_module`."""
    total = hashlib.sha256()
    for path, content in sorted(files.items()):
        # Lengths separate a path from its content unambiguously.
        total.update(f"{len(path.encode())}:{path}:{len(content)}:".encode())
        total.update(content)
    return total.hexdigest()


def counts(path: str) -> bool:
    """Whether a file belongs to the content of a module; caches and hidden files do not. `path` is relative."""
    parts = PurePosixPath(path).parts
    return not any(part.startswith(".") or part == "__pycache__" or part.endswith(".pyc") for part in parts)


def read_files(folder: Path) -> dict[str, bytes]:
    """The files of a module by relative POSIX path; see `digest_module`."""
    if not folder.is_dir():
        raise ModuleError(f"{folder} is not a directory; a module is a folder with a module.yaml")
    paths = {path.relative_to(folder).as_posix(): path for path in _walk(folder)}
    check_size(str(folder), {name: path.stat().st_size for name, path in paths.items()})
    return {name: path.read_bytes() for name, path in sorted(paths.items())}


def check_size(folder: str, sizes: Mapping[str, int]) -> None:
    """Refuses a module that is too large to be code.

    Raises:
        ModuleError: it is too large; the message names the largest file.
    """
    total = sum(sizes.values())
    if total > SIZE_LIMIT:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ModuleError(
            f"{folder} holds {total:,} bytes; a module is code, {SIZE_LIMIT:,} bytes at most. "
            f"Move data out of it: {largest} has {sizes[largest]:,} bytes"
        )


def views(files: Files) -> Views:
    """What is published of a module; the view of the schema is empty where it has none."""
    contract = {CONTRACT_FILE: f"{contract_of(files)}\n".encode()}
    schema = {SCHEMA: files[SCHEMA]} if files.get(SCHEMA, b"").strip() else {}
    return Views(files, _without(files, _NOT_PREPROCESSING) | contract, _without(files, _NOT_CODE) | contract, schema)


def contract_of(files: Files) -> Any:
    """Version of `slipway.module_api` that the files are written for; 1 if they do not state one."""
    if CONTRACT_FILE in files:
        text = files[CONTRACT_FILE].decode(errors="replace").strip()
        return int(text) if text.isdecimal() else text
    try:
        config = yaml.safe_load(files.get("module.yaml", b""))
    except yaml.YAMLError as error:
        raise ModuleError(f"module.yaml is not YAML: {error}") from error
    return config.get("contract", 1) if isinstance(config, dict) else 1


def _walk(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if not counts(entry.name):
            continue
        if entry.is_symlink():
            raise ModuleError(f"{entry} is a symbolic link; copy the file itself into the module")
        if entry.is_dir():
            yield from _walk(entry)
        else:
            yield entry


def _without(files: Files, names: frozenset[str]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path not in names}
