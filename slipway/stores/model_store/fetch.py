"""Copies one version to a folder that a model server polls: only what was pushed appears there, by one rename."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.errors import StoreError
from slipway.remote.objects import check_inside, open_objects
from slipway.stores import storage
from slipway.stores.model_store.manifest import Version, compare, hash_files
from slipway.stores.model_store.store import refuse_damaged


def fetch_version(version: Version, folder: Path) -> Path:
    """A version as `<folder>/<number>`, each file with the SHA-256 of its manifest; one that is there intact stays.

    Files come several at once. One that was interrupted goes on with the files that it did not finish; a second one
    beside it waits.

    Raises:
        StoreError: the store cannot be read, a file is missing or not what was pushed, or the folder cannot be written.
    """
    target, partial = folder / str(version.number), folder / f".fetching-{version.number}"  # servers read integers only
    wanted = version.manifest.files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{partial.name}.lock"):
            if target.is_dir() and hash_files(target) == wanted:
                return target
            partial.mkdir(exist_ok=True)
            there = hash_files(partial)
            for file in there:
                if file not in wanted:
                    (partial / file.path).unlink()
            _copy(version, [file.path for file in wanted if file not in there], partial)
            refuse_damaged(version, compare(wanted, hash_files(partial), version.uri))
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            _sync(folder)
    except OSError as error:
        size = sum(file.size for file in wanted)
        raise StoreError(
            f"{version.model}/{version.number} ({size:,} bytes) cannot be fetched to {folder}: "
            f"{error.strerror or error}; make room, or correct the folder or its permissions, and run again: "
            "what came is kept"
        ) from error
    return target


def _copy(version: Version, names: list[str], target: Path) -> None:
    if storage.is_remote(version.uri):
        open_objects(version.uri).download((name, target / check_inside(name, version.uri)) for name in names)
        return
    for name in names:
        storage.copy(str(Path(version.uri, name)), str(target / check_inside(name, version.uri)))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:  # the kernel releases the lock of a killed process
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
