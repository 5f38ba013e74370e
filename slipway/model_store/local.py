"""A model store in a directory, laid out as TensorFlow Serving polls it.

```
<store>/<model>/<version>/                 the SavedModel, nothing else
<store>/<model>/.manifests/<version>.json  where it came from, SHA-256 of its files
<store>/<model>/.claims/<version>          empty; says that this number was used, whatever came of it
<store>/<model>/.staging/<version>/        being written
```

`<store>/<model>` is a `--model_base_path`: pollers see integers only. A version becomes visible by one rename, after
its files and its manifest are on the disk. A pusher holds a lock on its claim while it works; the kernel drops the
lock of a killed one, and so the next push knows which staging directories nobody will finish.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from slipway.errors import StoreError
from slipway.model_store.manifest import (
    BLOCK_BYTES,
    Manifest,
    ModelFile,
    Provenance,
    Pushed,
    Version,
    combine,
    hash_files,
)

MANIFESTS, CLAIMS, STAGING = ".manifests", ".claims", ".staging"


class LocalModelStore:
    """See `slipway.model_store.ModelStore`.

    Args:
        root: The store's directory; the first push makes it.
        clock: Seconds since 1970.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._root = root.absolute()
        self._clock = clock

    def models(self) -> list[str]:
        """Names of the models, sorted."""
        return sorted(path.parent.name for path in self._root.glob(f"*/{MANIFESTS}"))

    def versions(self, model: str) -> list[Version]:
        """Versions of a model, oldest first; a directory that no push made does not count."""
        return [self._read(model, number) for number in self._numbers(model)]

    def version(self, model: str, number: int) -> Version:
        """One version."""
        known = self._numbers(model)
        if number not in known:
            there = f"its versions are {', '.join(map(str, known[-5:]))}" if known else "it has no versions"
            raise StoreError(f"model {model} has no version {number} in {self._root}; {there}")
        return self._read(model, number)

    def production(self, model: str) -> Version | None:
        """The newest version."""
        numbers = self._numbers(model)
        return self._read(model, numbers[-1]) if numbers else None

    def push(self, model_path: str | Path, provenance: Provenance) -> Pushed:
        """Stores a SavedModel as the next version, unless the newest version holds the same bytes, intact."""
        source = Path(model_path)
        if not (source / "saved_model.pb").is_file():
            raise StoreError(f"{source} is not a SavedModel: it has no saved_model.pb")
        try:
            _clean(self._root / provenance.model)
            files = hash_files(source)
            newest = self.production(provenance.model)
            if newest and newest.manifest.model_digest == combine(files) and not self.verify(newest):
                return Pushed(newest, is_new=False)
            return Pushed(self._push(source, files, provenance), is_new=True)
        except OSError as error:
            size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
            raise StoreError(
                f"model {provenance.model} ({size:,} bytes) cannot be stored in {self._root}: {error}. "
                "Nothing of it is visible; make room or mend the directory, and run again"
            ) from error

    def verify(self, version: Version) -> list[str]:
        """Hashes a version's files again; what differs from its manifest, one problem a line."""
        folder = Path(version.uri)
        expected = {file.path: file for file in version.manifest.files}
        actual = {file.path: file for file in hash_files(folder)}
        problems = [f"{folder}/{path} is missing" for path in expected.keys() - actual.keys()]
        problems += [f"{folder}/{path} does not belong there" for path in actual.keys() - expected.keys()]
        for path in expected.keys() & actual.keys():
            if actual[path] != expected[path]:
                problems.append(
                    f"{folder}/{path} was changed: {actual[path].size:,} bytes with SHA-256 {actual[path].sha256}, "
                    f"pushed were {expected[path].size:,} bytes with {expected[path].sha256}"
                )
        return sorted(problems)

    def _numbers(self, model: str) -> list[int]:
        base = self._root / model
        return [number for number in _integers(base) if (base / MANIFESTS / f"{number}.json").is_file()]

    def _read(self, model: str, number: int) -> Version:
        path = self._root / model / MANIFESTS / f"{number}.json"
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        return Version(model, number, str(self._root / model / str(number)), manifest)

    def _push(self, source: Path, files: list[ModelFile], provenance: Provenance) -> Version:
        base = self._root / provenance.model
        for folder in (MANIFESTS, CLAIMS, STAGING):
            (base / folder).mkdir(parents=True, exist_ok=True)
        with self._claim(base) as number:
            staging, manifest_path = base / STAGING / str(number), base / MANIFESTS / f"{number}.json"
            manifest = Manifest(
                **provenance.model_dump(),
                version=number,
                created=self._clock(),
                model_digest=combine(files),
                files=files,
            )
            try:
                staging.mkdir()
                _copy(source, staging, files)
                _write(manifest_path, manifest.model_dump_json(indent=1).encode())
                staging.rename(base / str(number))
            except BaseException:
                with suppress(OSError):
                    _discard(base, number)
                raise
            _sync_folder(base)
        return Version(provenance.model, number, str(base / str(number)), manifest)

    @contextmanager
    def _claim(self, base: Path) -> Iterator[int]:
        """The next number, for this process alone, locked until the push ends."""
        number = max([*_integers(base), *_integers(base / CLAIMS), int(self._clock())]) + 1
        while True:
            try:
                handle = os.open(base / CLAIMS / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
                break
            except FileExistsError:
                number += 1
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _sync_folder(base / CLAIMS)
            yield number
        finally:
            os.close(handle)


def _clean(base: Path) -> None:
    """Removes what killed pushers left; a pusher that is at work holds its lock."""
    for number in _integers(base / STAGING):
        with (base / CLAIMS / str(number)).open("a") as claim, suppress(BlockingIOError):
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _discard(base, number)


def _discard(base: Path, number: int) -> None:
    # The staging directory goes last: as long as it is there, the next push comes back to the manifest.
    if (base / STAGING / str(number)).is_dir():
        (base / MANIFESTS / f"{number}.json").unlink(missing_ok=True)
        (base / MANIFESTS / f"{number}.json.partial").unlink(missing_ok=True)
        shutil.rmtree(base / STAGING / str(number))


def _integers(folder: Path) -> list[int]:
    """Names in a directory that TensorFlow Serving takes for versions, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isascii() and path.name.isdigit())


def _copy(source: Path, target: Path, files: list[ModelFile]) -> None:
    for file in files:
        copy = target / file.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        with (source / file.path).open("rb") as reader, copy.open("wb") as writer:
            shutil.copyfileobj(reader, writer, BLOCK_BYTES)
            writer.flush()
            os.fsync(writer.fileno())
    for folder in {target, *((target / file.path).parent for file in files)}:
        _sync_folder(folder)
    if hash_files(target) != files:
        raise StoreError(f"the copy in {target} differs from {source}: a faulty disk, or somebody writes the model now")


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
