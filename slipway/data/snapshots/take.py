"""Takes a snapshot: copies the files behind a data URI under the digest of what was read, then writes the name.

Until the name is written nobody sees anything; what an interrupted snapshot copied is found again by the next.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slipway.data.examples.bigquery import is_bigquery, locate_in_bigquery, read_batches
from slipway.data.examples.source import SNAPSHOT, SPAN, Format, Source, digest_of, find, names_below
from slipway.data.snapshots.dvc import fetch, is_pointer, read_pointer
from slipway.data.snapshots.store import Snapshot, SnapshotFile, check_name, find_snapshot, name_uri
from slipway.errors import DataError
from slipway.lineage import user_at_host
from slipway.stores import storage
from slipway.stores.artifacts import writing

ATTEMPTS = 3  # at a file that changes while it is read
INCOMING = ".incoming-"
_GIVEN_BY = "the URI"
_ENDINGS: dict[Format, str] = {"csv": ".csv", "parquet": ".parquet", "avro": ".avro", "idx": ".idx",
                               "tfrecord": ".tfrecord", "bigquery": ".parquet"}  # fmt: skip

OnFile = Callable[[str, bool], None]


@dataclass(frozen=True)
class Taken:
    """A snapshot; `is_new` is False where the name pointed to the same bytes before."""

    snapshot: Snapshot
    is_new: bool
    copied: int  # bytes that were not there


def take_snapshot(uri: str, name: str, root: str, window: int = 1, on_file: OnFile = lambda *_: None) -> Taken:
    """Keeps the data behind a URI under a name; `on_file` is told each file, and whether it was copied.

    Raises:
        DataError: nothing is there, a file does not come to rest, or the name points to other data.
    """
    check_name(name)
    uri = read_pointer(uri).exact_uri if is_pointer(uri) else uri
    before = find_snapshot(root, name)
    with _files(uri, window) as found:
        keep = _Keeper(root, found.format, writes=before is None)
        files = []
        for file, shown in zip(found.files, _names(found), strict=True):
            kept, copied = keep.file(file.uri, shown)
            files.append(kept)
            on_file(shown, copied)
    taken = Snapshot(
        name=name,
        uri=uri,
        format=found.format,
        digest=digest_of(found.format, *map(_identity, files)),
        files=files,
        spans=found.spans,
        created=time.time(),
        by=user_at_host(),
    )
    if before is None and storage.write_new(name_uri(root, name), taken.model_dump_json(indent=1).encode()):
        return Taken(taken, is_new=True, copied=keep.copied)
    before = before or find_snapshot(root, name)
    if before is None or before.digest != taken.digest:
        old = before.digest[:12] if before else "removed"
        raise DataError(
            f"the snapshot {name!r} has other data: {old}, and {uri} is {taken.digest[:12]}. A name never moves: "
            "choose another, as by the date"
        )
    return Taken(before, is_new=False, copied=keep.copied)


@contextmanager
def _files(uri: str, window: int) -> Iterator[Source]:
    """The files behind a URI, for as long as the block lasts: the rows of BigQuery are one of Parquet."""
    if is_pointer(uri):
        with tempfile.TemporaryDirectory(prefix=INCOMING) as folder:
            yield find(str(fetch(read_pointer(uri), Path(folder))), window, _GIVEN_BY)
        return
    if not is_bigquery(uri):
        yield find(uri, window, _GIVEN_BY)
        return
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix=INCOMING) as folder:
        path = Path(folder) / "rows.parquet"
        with read_batches(locate_in_bigquery(uri)) as rows, pq.ParquetWriter(path, rows.schema) as writer:
            for batch in rows:
                writer.write_batch(batch)
        yield find(str(path), 1, _GIVEN_BY)


def keep_pointer(uri: str, root: str, *, write: bool = True) -> str:
    """Of a pointer of DVC the URI of the snapshot of its bytes, taken unless it is there; any other URI as it is."""
    if not is_pointer(uri):
        return uri
    pointer = read_pointer(uri)
    if write and find_snapshot(root, pointer.snapshot) is None:
        take_snapshot(pointer.exact_uri, pointer.snapshot, root)
    return f"{SNAPSHOT}{pointer.snapshot}"


class _Keeper:
    """Keeps files under the digests of what was read; without `writes` it reads alone."""

    def __init__(self, root: str, kind: Format, *, writes: bool) -> None:
        self.copied = 0
        self._root, self._kind, self._writes = root, kind, writes

    def file(self, uri: str, name: str) -> tuple[SnapshotFile, bool]:
        """The kept file, and whether it had to be copied.

        Raises:
            DataError: the file changes while it is read.
        """
        for _ in range(ATTEMPTS):
            try:
                before = _state(uri)
                kept, copied = self._read(uri, name)
                if _state(uri) == before:
                    return kept, copied
            except FileNotFoundError as error:
                raise DataError(f"{uri} was there when the snapshot began, and is gone now; take it again") from error
        raise DataError(
            f"{uri} changes while it is copied, {ATTEMPTS} times in a row: take the snapshot when nobody writes it, or "
            "of a copy"
        )

    def _read(self, uri: str, name: str) -> tuple[SnapshotFile, bool]:
        if not storage.is_remote(uri):
            kept = self._kept(storage.local_path(uri), name)
            if not self._writes or self._is_there(kept):
                return self._described(kept), False
        here = None if storage.is_remote(self._root) else storage.local_path(self._root)
        with writing(self._root):
            if here:
                here.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=INCOMING, dir=here) as folder:
                copy = Path(folder) / "data"
                storage.copy(uri, str(copy))
                kept = self._kept(copy, name)
                copied = self._writes and not self._is_there(kept)
                if copied and here:
                    (here / kept.path).parent.mkdir(exist_ok=True)
                    copy.replace(here / kept.path)
                elif copied:
                    storage.copy(str(copy), storage.join(self._root, kept.path))
        self.copied += kept.size if copied else 0
        return self._described(kept), copied

    def _kept(self, path: Path, name: str) -> SnapshotFile:
        whole = hashlib.sha256()
        with storage.open_read(str(path)) as content:
            while block := content.read(storage.BLOCK_BYTES):
                whole.update(block)
            size = content.tell()
        digest = whole.hexdigest()
        ending = _ENDINGS[self._kind] + (".gz" if name.lower().endswith(".gz") else "")
        return SnapshotFile(name=name, path=f"{digest}/data{ending}", size=size, sha256=digest)

    def _is_there(self, kept: SnapshotFile) -> bool:
        uri = storage.join(self._root, kept.path)
        if not storage.exists(uri):
            return False
        if storage.is_remote(uri):
            return storage.fingerprint(uri)[0] == kept.size
        return storage.local_path(uri).stat().st_size == kept.size

    def _described(self, kept: SnapshotFile) -> SnapshotFile:
        """With the bucket's checksum, by which it is compared without reading it."""
        uri = storage.join(self._root, kept.path)
        if storage.is_remote(uri) and self._writes:
            return kept.model_copy(update={"checksum": storage.fingerprint(uri)[1]})
        return kept


def _names(source: Source) -> list[str]:
    names = names_below(source.uri, [file.uri for file in source.files])
    # The folders of a {SPAN} pattern are no columns.
    return [name.replace("=", "-") for name in names] if SPAN in source.uri else names


def _identity(file: SnapshotFile) -> str:
    """What a file says: its bytes, and the folders whose names are columns."""
    folder = file.name.rpartition("/")[0]
    return f"{folder if '=' in folder else ''}{file.sha256}"


def _state(uri: str) -> tuple[object, ...]:
    if storage.is_remote(uri):
        return storage.fingerprint(uri)
    found = storage.local_path(uri).stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
