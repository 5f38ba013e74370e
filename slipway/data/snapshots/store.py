"""Snapshots by their names, on this machine or in a bucket."""

from __future__ import annotations

import re

from pydantic import BaseModel, Field

from slipway.data.examples.source import SNAPSHOT, Format, Source, SourceFile, describe_file
from slipway.errors import DataError, StoreError
from slipway.stores import storage
from slipway.stores.artifacts import parse_json
from slipway.strict_yaml import did_you_mean

NAMES = "names"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class SnapshotFile(BaseModel):
    """One file of a snapshot."""

    name: str = Field(description="path where it was taken from")
    path: str = Field(description="where its bytes are, below the folder of all snapshots: <sha256>/data.csv")
    size: int
    sha256: str
    checksum: str = Field("", description="the bucket's own checksum of the stored object; empty on this machine")


class Snapshot(BaseModel):
    """What a name points to. `digest` is over the format and the bytes: equal for equal data."""

    name: str
    uri: str = Field(description="what it was taken from")
    format: Format
    digest: str
    files: list[SnapshotFile]
    spans: list[int] = []
    created: float = Field(description="Unix time")
    by: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def is_snapshot(uri: str) -> bool:
    """Whether a data URI is `snapshot:NAME`."""
    return uri.startswith(SNAPSHOT)


def check_name(name: str) -> None:
    """Refuses what is no name of a snapshot."""
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{name!r} is no name of a snapshot: up to 200 letters, digits, '.', '_' and '-', as trips-2026-11; of "
            "several snapshots only one is read"
        )


def name_uri(root: str, name: str) -> str:
    """Where a name is kept."""
    return storage.join(root, NAMES, f"{name}.json")


def list_snapshots(root: str) -> list[Snapshot]:
    """All snapshots, oldest first."""
    names = [name.removesuffix(".json") for name in storage.list_names(storage.join(root, NAMES))]
    found = [_read(root, name) for name in names if _NAME.fullmatch(name)]
    return sorted(found, key=lambda one: (one.created, one.name))


def find_snapshot(root: str, name: str) -> Snapshot | None:
    """A snapshot by its name; None if there is none."""
    check_name(name)
    return _read(root, name) if storage.exists(name_uri(root, name)) else None


def load_snapshot(root: str, name: str) -> Snapshot:
    """A snapshot by its name, `snapshot:` before it or not; a DataError names the nearest if there is none."""
    name = name.removeprefix(SNAPSHOT)
    if found := find_snapshot(root, name):
        return found
    known = [one.removesuffix(".json") for one in storage.list_names(storage.join(root, NAMES))]
    hint = did_you_mean(name, known) or (f"; there are {', '.join(known[-5:])}" if known else "")
    raise DataError(
        f"there is no snapshot {name!r} in {root}{hint}. `slipway data snapshot URI --name {name}` takes one"
    )


def as_source(snapshot: Snapshot, root: str, *, verify: bool = True) -> Source:
    """The source that a snapshot is; `verify` hashes its stored files again, and asks a bucket for its checksums.

    Raises:
        DataError: files are gone, or not what was stored; the message names all of them.
    """
    problems = [problem for file in snapshot.files if (problem := _problem(file, root))] if verify else []
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise DataError(f"snapshot:{snapshot.name}: the data are not what was stored:\n{listed}")
    files = [
        SourceFile(uri=storage.join(root, file.path), size=file.size, digest=file.sha256, name=file.name)
        for file in snapshot.files
    ]
    return Source(
        uri=f"{SNAPSHOT}{snapshot.name}",
        format=snapshot.format,
        digest=snapshot.digest,
        files=files,
        spans=snapshot.spans,
    )


def _read(root: str, name: str) -> Snapshot:
    uri = name_uri(root, name)
    return parse_json(storage.read_bytes(uri), Snapshot, uri, "restore the file, or the bucket's older version of it")


def _problem(file: SnapshotFile, root: str) -> str:
    uri = storage.join(root, file.path)
    try:
        if storage.is_remote(uri):
            same = storage.fingerprint(uri) == (file.size, file.checksum)
        else:
            same = describe_file(uri).digest == file.sha256
    except (StoreError, FileNotFoundError):
        return f"{file.name} is gone: there is no {uri}"
    return "" if same else f"{file.name} was changed: {uri} no longer has SHA-256 {file.sha256}; restore it"
