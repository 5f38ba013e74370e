"""Objects in buckets: the interface that every kind of remote store implements."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from slipway.errors import StoreError
from slipway.remote.address import Address

ABSENT = 0
READ_AHEAD_BYTES = 1 << 20


class StoredObject(NamedTuple):
    """An object as a listing describes it.

    Attributes:
        name: Name relative to the listed store.
        size: Bytes.
        checksum: As `Objects.checksum` computes it.
        digest: Strongest checksum that the store keeps, after its kind: `md5Hash:…`.
        created: Seconds since 1970, by the store's clock.
        generation: Changes with every write of the object.
    """

    name: str
    size: int
    checksum: str
    digest: str
    created: float
    generation: int


class Objects(Protocol):
    """Objects below one address. Names are relative to it; a folder's name ends with a slash or is empty.

    Every method raises `StoreError` with the object's URI, how long it was tried, and the fix.
    """

    address: Address

    @property
    def account(self) -> str | None:
        """The account that the requests are made as, where its credentials name it."""

    def uri(self, name: str) -> str:
        """What messages call an object."""

    def objects(self, folder: str) -> dict[str, StoredObject]:
        """Objects below a folder, at any depth, by name; empty objects that mark folders are left out."""

    def names(self, folder: str) -> list[str]:
        """Names of the objects and folders directly in a folder, sorted."""

    def find(self, name: str) -> StoredObject | None:
        """An object without its content; None where there is none."""

    def read(self, name: str) -> bytes | None:
        """Content of an object; None where there is none."""

    def read_range(self, found: StoredObject, start: int, stop: int) -> bytes:
        """Bytes of an object from `start` to before `stop`, of the generation that was found."""

    def read_generation(self, name: str) -> tuple[bytes, int] | None:
        """Content and generation of an object; None where there is none."""

    def put(self, name: str, content: bytes, generation: int | None = None) -> bool:
        """Writes an object, if it still has the generation; `ABSENT` if there must be none, None whatever there is.

        Returns:
            Whether it was written.
        """

    def upload(self, files: Iterable[tuple[Path, str]]) -> None:
        """Uploads files under the names beside them, several at once; the store checks their checksums."""

    def download(self, files: Iterable[tuple[str, Path]]) -> None:
        """Downloads objects to the paths beside them, several at once; checksums are checked."""

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects, several at once; one that does not exist is no error."""

    def checksum(self, content: bytes | Path) -> str:
        """Checksum of bytes or of a file, as listings give it."""


def open_ranges(objects: Objects, found: StoredObject) -> io.BufferedReader:
    """An object as a seekable file: a reader of Parquet fetches only the row groups that it needs."""
    return io.BufferedReader(_Ranges(objects, found), READ_AHEAD_BYTES)


def check_inside(name: str, folder: str) -> str:
    """The name of an object relative to the folder that is copied to a local one.

    Raises:
        StoreError: it would be written outside the local folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise StoreError(f"{folder}: the name {name!r} leads out of this folder; remove the object")
    return name


class _Ranges(io.RawIOBase):
    def __init__(self, objects: Objects, found: StoredObject) -> None:
        self._objects = objects
        self._found = found
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._found.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        stop = min(self._position + len(view), self._found.size)
        content = self._objects.read_range(self._found, self._position, stop) if stop > self._position else b""
        view[: len(content)] = content
        self._position += len(content)
        return len(content)
