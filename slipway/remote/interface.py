"""What every remote store offers: objects below an address, with preconditions for writes."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from slipway.remote.address import Address

Action = Literal["list", "read", "write", "delete"]

ABSENT = ""  # generation of an object that is not there
CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
BLOCK_BYTES = 1 << 20
WORKERS = 8


class StoredObject(NamedTuple):
    """An object as a listing describes it."""

    name: str  # relative to the listed store
    size: int  # bytes
    checksum: str  # as `Objects.checksum` computes it
    digest: str  # strongest checksum that the store keeps, after its kind: `md5Hash:…`
    created: float  # seconds since 1970, by the store's clock
    generation: str  # changes with every write of other bytes


class Objects(ABC):
    """Objects below one address.

    Names are relative to the address; a folder's name ends with a slash or is empty. Every method raises `StoreError`
    with the object's URI, how long it was tried, and the fix.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._prefix = f"{address.path}/" if address.path else ""

    @property
    @abstractmethod
    def account(self) -> str:
        """The account that the requests are made as; empty if it is not known."""

    @abstractmethod
    def objects(self, folder: str, *, marks: bool = False) -> dict[str, StoredObject]:
        """Objects below a folder, at any depth, by name; empty objects that mark folders are left out.

        S3 is asked for each empty object whether it is such a mark. With `marks` it is not asked: then marks of empty
        folders are among the objects, without their slash.
        """

    @abstractmethod
    def holds(self, folder: str) -> bool:
        """Whether there is an object below a folder, by one request."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Names of the objects and folders directly in a folder, sorted."""

    @abstractmethod
    def find(self, name: str) -> StoredObject | None:
        """An object without its content; None where there is none."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Content of an object; None where there is none."""

    @abstractmethod
    def read_range(self, found: StoredObject, start: int, stop: int) -> bytes:
        """Bytes of an object from `start` to before `stop`, of the generation that was found."""

    @abstractmethod
    def read_generation(self, name: str) -> tuple[bytes, str] | None:
        """Content and generation of an object; None where there is none."""

    @abstractmethod
    def put(self, name: str, content: bytes, generation: str | None = None) -> bool:
        """Writes an object if it has the generation (`ABSENT`: none; None: any); returns whether it was written.

        False may mean that the write succeeded, its response was lost, and its retry met what it had written itself.
        """

    @abstractmethod
    def create(self, path: Path, name: str) -> bool:
        """Uploads a file where there is no object of this name yet; returns whether it was written, as `put` does."""

    @abstractmethod
    def upload(self, files: Iterable[tuple[Path, str]]) -> None:
        """Uploads files under the names beside them, several at once; the store checks their checksums."""

    @abstractmethod
    def download(self, files: Iterable[tuple[str, Path]]) -> None:
        """Downloads objects to the paths beside them, several at once; checksums are checked."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects, several at once; missing ones are ignored."""

    def clear(self) -> None:
        """Deletes all objects below the address, several at once."""
        self.delete(self.objects(""))

    @abstractmethod
    def checksum(self, content: bytes | Path) -> str:
        """Checksum of bytes, or of a file that `upload` takes, as listings give it; empty where the store has none."""

    @abstractmethod
    def _translated(self, action: Action, name: str) -> AbstractContextManager[None]:
        """Turns errors of the client in its block into `StoreError`; `name` is an object or folder."""

    def open(self, found: StoredObject, *, buffered: bool = True) -> io.BufferedReader | io.RawIOBase:
        """An object as a seekable file: a reader of Parquet fetches only the row groups that it needs.

        Buffered, it fetches `BLOCK_BYTES` at least; otherwise what is read, and no byte more.
        """
        ranges = _Ranges(self, found)
        return io.BufferedReader(ranges, BLOCK_BYTES) if buffered else ranges

    def _at_once(self, action: Action, calls: Iterable[tuple[str, Callable[[], None]]]) -> None:
        """Makes calls, each for the object beside it, several at once; after one error the rest is not tried."""

        def call(name: str, make: Callable[[], None]) -> None:
            with self._translated(action, name):
                make()

        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                for future in [pool.submit(call, name, make) for name, make in calls]:
                    future.result()
            finally:
                pool.shutdown(cancel_futures=True)


def content_type(name: str) -> str:
    """A browser shows a report that is linked to; anything else it would only save."""
    return "text/html; charset=utf-8" if name.endswith(".html") else "application/octet-stream"


class _Ranges(io.RawIOBase):
    def __init__(self, objects: Objects, found: StoredObject) -> None:
        self._objects, self._found, self._position = objects, found, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._found.size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        stop = min(self._position + len(view), self._found.size)
        content = self._objects.read_range(self._found, self._position, stop) if stop > self._position else b""
        view[: len(content)] = content
        self._position += len(content)
        return len(content)
