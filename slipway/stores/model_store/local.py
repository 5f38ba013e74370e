"""A model store in a directory, laid out as TensorFlow Serving polls it.

```
<store>/<model>/<version>/                 the SavedModel, nothing else
<store>/<model>/.manifests/<version>.json  where it came from, SHA-256 of its files
<store>/<model>/.baselines/<version>.json  what its training rows looked like, for the monitor
<store>/<model>/.claims/<version>          empty; marks the number as used, even if the push failed
<store>/<model>/.staging/<version>/        being written
<store>/<model>/.trash/<version>/          being deleted
<store>/<model>/.state.json                stages, pin and history; changed under a lock on .state.lock
```

`<store>/<model>` is a `--model_base_path`: model servers see the integers only. A version becomes visible by one
rename, after its files and its manifest are on the disk. A push holds a lock on its claim; the kernel releases the lock
of a killed process, so the next push can tell which staging directories are abandoned.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slipway.errors import StoreError
from slipway.remote.retries import retrying
from slipway.stores import storage
from slipway.stores.model_store.manifest import Manifest, ModelFile, Provenance, Version, hash_files
from slipway.stores.model_store.numbers import next_version, version_of
from slipway.stores.model_store.state import State
from slipway.stores.model_store.store import (
    BASELINES,
    CLAIMS,
    MANIFESTS,
    STATE,
    Change,
    Listing,
    ModelStore,
    refuse_damaged,
)

STAGING, TRASH, LOCK = ".staging", ".trash", ".state.lock"


class LocalModelStore(ModelStore):
    """The store in `root`, which the first push makes; waits `lock_seconds` for others that change a model's state."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time, lock_seconds: float = 30.0) -> None:
        super().__init__(str(root.absolute()), clock)
        self._root = root.absolute()
        self._lock_seconds = lock_seconds

    def models(self) -> list[str]:
        """Names of the models, sorted."""
        return sorted(path.parent.name for path in self._root.glob(f"*/{MANIFESTS}"))

    def stamp(self, model: str) -> str:
        """Of the folder, in which every change of the state and every push renames something."""
        base = self._root / model
        found = [path.stat() for path in (base, base / STATE) if path.exists()]
        return " ".join(f"{one.st_mtime_ns}:{one.st_ino}:{one.st_size}" for one in found)

    def fetch(self, version: Version, folder: Path) -> Path:
        """The version's own directory: it is on this machine already."""
        refuse_damaged(version, self.verify(version))
        return Path(version.uri)

    def _list(self, model: str) -> Listing:
        base = self._root / model
        recorded = {path.name for path in (base / MANIFESTS).iterdir()} if (base / MANIFESTS).is_dir() else set()
        return Listing([number for number in _integers(base) if f"{number}.json" in recorded])

    def _has_files(self, model: str, number: int) -> bool:
        return (self._root / model / str(number)).is_dir()

    def _get(self, name: str) -> bytes | None:
        path = self._root / name
        return storage.read_bytes(str(path)) if path.is_file() else None

    def _hash(self, version: Version) -> list[ModelFile]:
        return hash_files(Path(version.uri))

    def _swap(self, model: str, change: Change) -> State:
        base = self._root / model
        try:
            with self._locked(base):
                before = self._load(model)
                after = change(before)
                if after != before:
                    _write(base / STATE, after.model_dump_json(indent=1).encode())
                return after
        except OSError as error:
            raise StoreError(
                f"the state of {model} in {base} cannot be changed: {error}; nothing was changed"
            ) from error

    @contextmanager
    def _locked(self, base: Path) -> Iterator[None]:
        """Exclusive access to a model's state; the kernel releases the lock of a killed process."""
        again = retrying(
            BlockingIOError, attempts=sys.maxsize, seconds=self._lock_seconds, first_seconds=0.01, longest_seconds=0.05
        )
        with (base / LOCK).open("a") as file:
            try:
                again(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(
                    f"another process has held {base / LOCK} for {self._lock_seconds:g} s; "
                    "see which one (`fuser` names it) and try again"
                ) from error
            yield

    def _clean(self, model: str, deleted: frozenset[int], listing: Listing) -> None:
        base = self._root / model
        # A push in progress holds its lock.
        for number in _integers(base / STAGING):
            with (base / CLAIMS / str(number)).open("a") as claim, suppress(BlockingIOError):
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _discard(base, number)
        # One rename hides a deleted version from model servers; its files can then be deleted one by one.
        for number in deleted.intersection(_integers(base)):
            (base / TRASH).mkdir(exist_ok=True)
            with suppress(FileNotFoundError):
                (base / str(number)).rename(base / TRASH / str(number))
            (base / BASELINES / f"{number}.json").unlink(missing_ok=True)
        shutil.rmtree(base / TRASH, ignore_errors=True)

    def _store(
        self,
        source: Path,
        files: list[ModelFile],
        provenance: Provenance,
        baseline: str,
        deleted: frozenset[int],
        listing: Listing,
    ) -> Manifest:
        base = self._root / provenance.model
        for folder in (MANIFESTS, BASELINES, CLAIMS, STAGING):
            (base / folder).mkdir(parents=True, exist_ok=True)
        with self._claim(base) as number:
            staging = base / STAGING / str(number)
            manifest = self._manifest(number, files, provenance)
            try:
                staging.mkdir()
                _copy(source, staging, files)
                if baseline:
                    _write(base / BASELINES / f"{number}.json", baseline.encode())
                _write(base / MANIFESTS / f"{number}.json", manifest.model_dump_json(indent=1).encode())
                staging.rename(base / str(number))
            except BaseException:
                with suppress(OSError):
                    _discard(base, number)
                raise
            _sync(base)
        return manifest

    @contextmanager
    def _claim(self, base: Path) -> Iterator[int]:
        """Reserves the next version number, locked until the push ends."""
        number = next_version([*_integers(base), *_integers(base / CLAIMS)], self._clock(), base)
        while True:
            try:
                handle = os.open(base / CLAIMS / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
                break
            except FileExistsError:
                number += 1
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _sync(base / CLAIMS)
            yield number
        finally:
            os.close(handle)


def _discard(base: Path, number: int) -> None:
    # The staging directory is deleted last: while it exists, the next push also cleans up the manifest.
    if (base / STAGING / str(number)).is_dir():
        for folder in (BASELINES, MANIFESTS):
            (base / folder / f"{number}.json").unlink(missing_ok=True)
            (base / folder / f"{number}.json.partial").unlink(missing_ok=True)
        shutil.rmtree(base / STAGING / str(number))


def _integers(folder: Path) -> list[int]:
    """Names in a directory that TensorFlow Serving treats as versions, ascending."""
    found = {version_of(path.name) for path in folder.iterdir()} if folder.is_dir() else set()
    return sorted(number for number in found if number is not None)


def _copy(source: Path, target: Path, files: list[ModelFile]) -> None:
    for file in files:
        copy = target / file.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file.path, copy)
        _sync(copy)
    for folder in {target, *((target / file.path).parent for file in files)}:
        _sync(folder)
    if hash_files(target) != files:
        raise StoreError(
            f"the copy in {target} differs from {source}: the disk is faulty, or another process writes the model"
        )


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Forces a file or the entries of a directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
