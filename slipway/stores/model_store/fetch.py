"""Copies one version to a folder that a model server polls: only what was pushed appears there, by one rename."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from slipway.errors import StoreError
from slipway.remote.objects import check_inside, open_objects
from slipway.stores import storage
from slipway.stores.model_store.manifest import ModelFile, Version, compare, hash_files
from slipway.stores.model_store.store import refuse_damaged

_PART_BYTES = 8 << 20
_WORKERS = 8
_Read = Callable[[ModelFile, int, int], bytes]  # bytes of a file, from the first to before the last


def fetch_version(version: Version, folder: Path) -> Path:
    """A version as `<folder>/<number>`, each file with the SHA-256 of its manifest; one that is there intact stays.

    Parts of files come several at once. One that was interrupted goes on after the bytes that are there; a second one
    beside it waits.

    Raises:
        StoreError: the store cannot be read, a file is missing or not what was pushed, or the folder cannot be written.
    """
    target, unfinished = folder / str(version.number), folder / f".fetching-{version.number}"  # servers read integers
    wanted = version.manifest.files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{unfinished.name}.lock"):
            if target.is_dir() and hash_files(target) == wanted:
                return target
            unfinished.mkdir(exist_ok=True)
            _copy(version, _still_to_come(wanted, unfinished), unfinished)
            if problems := compare(wanted, hash_files(unfinished), version.uri):
                _still_to_come(wanted, unfinished)  # the next time, what is damaged comes anew
                refuse_damaged(version, problems)
            shutil.rmtree(target, ignore_errors=True)
            unfinished.rename(target)
            _sync(folder)
    except OSError as error:
        size = sum(file.size for file in wanted)
        raise StoreError(
            f"{version.model}/{version.number} ({size:,} bytes) cannot be fetched to {folder}: "
            f"{error.strerror or error}; make room, or correct the folder or its permissions, and run again: "
            "what came is kept"
        ) from error
    return target


def _still_to_come(wanted: list[ModelFile], folder: Path) -> list[ModelFile]:
    """The files that are not in a folder whole; what is there and can be no file's beginning is removed."""
    by_path, there = {file.path: file for file in wanted}, hash_files(folder)
    for file in there:
        whole = by_path.get(file.path)
        if whole is None or (file.size >= whole.size and file != whole):
            (folder / file.path).unlink()
    return [file for file in wanted if file not in there]


def _copy(version: Version, files: list[ModelFile], folder: Path) -> None:
    """Appends to each file what it lacks: parts are read several at once, and written in order."""
    lacks = [(file, _size(folder / check_inside(file.path, version.uri))) for file in files]
    _require_room(sum(file.size - size for file, size in lacks), folder)
    with ThreadPoolExecutor(_WORKERS) as pool:
        read, coming = _reader(version, files, pool), deque[tuple[ModelFile, int, Future[bytes]]]()
        try:
            for file, size in lacks:
                for start in range(size, max(file.size, 1), _PART_BYTES):  # one part of an empty file
                    stop = min(start + _PART_BYTES, file.size)
                    coming.append((file, stop, pool.submit(read, file, start, stop)))
                    if len(coming) > 2 * _WORKERS:
                        _append(*coming.popleft(), folder)
            while coming:
                _append(*coming.popleft(), folder)
        finally:
            pool.shutdown(cancel_futures=True)


def _append(file: ModelFile, stop: int, content: Future[bytes], folder: Path) -> None:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as written:
        written.write(content.result())
        if stop == file.size:
            written.flush()
            os.fsync(written.fileno())


def _reader(version: Version, files: list[ModelFile], pool: ThreadPoolExecutor) -> _Read:
    """How parts of a version's files are read; refuses files that are missing or have another size."""
    if not storage.is_remote(version.uri):
        return partial(_read_local, version.uri)
    objects = open_objects(version.uri)
    found = dict(zip((file.path for file in files), pool.map(objects.find, [file.path for file in files]), strict=True))
    for file in files:
        where, its = objects.address.below(file.path), found[file.path]
        if its is None:
            raise StoreError(f"{where}: cannot read: there is no such file; push the model again")
        if its.size != file.size:
            problem = f"{where} was changed: {its.size:,} bytes, pushed were {file.size:,}"
            refuse_damaged(version, [problem])

    def read(file: ModelFile, start: int, stop: int) -> bytes:
        its = found[file.path]
        return objects.read_range(its, start, stop) if its and stop > start else b""

    return read


def _read_local(folder: str, file: ModelFile, start: int, stop: int) -> bytes:
    with storage.open_read(str(Path(folder, file.path))) as stored:
        stored.seek(start)
        return stored.read(stop - start)


def _require_room(size: int, folder: Path) -> None:
    """Refuses before the first byte what would fill a disk that others use, too."""
    if size > (free := shutil.disk_usage(folder).free):
        raise OSError(errno.ENOSPC, f"No space left: {size:,} bytes are still to come, {free:,} are free")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


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
