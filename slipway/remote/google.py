"""Objects on Google Cloud Storage, through google-cloud-storage: bounded retries and checked checksums.

pyarrow's file system is not used: it has no preconditions, which claims and states need, and raises plain OSErrors.
"""

from __future__ import annotations

import base64
import io
import os
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from slipway.errors import StoreError
from slipway.remote.address import Address, parse
from slipway.remote.google_errors import Action, translated
from slipway.remote.google_login import credentials, email
from slipway.remote.retries import retrying

ABSENT = 0
CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
BLOCK_BYTES = 1 << 20
WORKERS = 8
BYTES = "application/octet-stream"


class StoredObject(NamedTuple):
    """An object as a listing describes it."""

    name: str  # relative to the listed store
    size: int  # bytes
    checksum: str  # as `GoogleObjects.checksum` computes it
    digest: str  # strongest checksum that the store keeps, after its kind: `md5Hash:…`
    created: float  # seconds since 1970, by the store's clock
    generation: int  # changes with every write of the object


def open_objects(uri: str) -> GoogleObjects:
    """The objects below a remote URI; StoreError if the URI is wrong."""
    return GoogleObjects(parse(uri))


def open_object(uri: str) -> tuple[GoogleObjects, str]:
    """The objects in the folder of an object, and the object's name among them; StoreError if the URI is wrong."""
    folder, name = parse(uri).split()
    return GoogleObjects(folder), name


class GoogleObjects:
    """Objects below one address: the interface that another kind of remote store would have to offer.

    Names are relative to the address; a folder's name ends with a slash or is empty. Every method raises `StoreError`
    with the object's URI, how long it was tried, and the fix.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._prefix = f"{address.path}/" if address.path else ""

    @cached_property
    def account(self) -> str:
        """E-mail of the account that the requests are made as; empty if Google does not tell it."""
        with translated("read", self.address, ""):
            return email(self._connection.credentials)

    def objects(self, folder: str) -> dict[str, StoredObject]:
        """Objects below a folder, at any depth, by name; empty objects that mark folders are left out."""
        with translated("list", self.address, folder):
            found = [self._describe(blob) for blob in self._blobs(folder)]
        return {each.name: each for each in found if each.name and not each.name.endswith("/")}

    def names(self, folder: str) -> list[str]:
        """Names of the objects and folders directly in a folder, sorted."""
        with translated("list", self.address, folder):
            blobs = self._blobs(folder, delimiter="/")
            paths = [blob.name for blob in blobs if not blob.name.endswith("/")]
            paths += [path.removesuffix("/") for path in blobs.prefixes]
        return sorted(path.removeprefix(self._prefix + folder) for path in paths)

    def find(self, name: str) -> StoredObject | None:
        """An object without its content; None where there is none."""
        with translated("read", self.address, name):
            blob = self._bucket.get_blob(self._prefix + name, **self._bounds)
        return self._describe(blob) if blob else None

    def read(self, name: str) -> bytes | None:
        """Content of an object; None where there is none."""
        from google.api_core.exceptions import NotFound

        with translated("read", self.address, name):
            try:
                return self._content(name)
            except NotFound:
                return None

    def open(self, found: StoredObject) -> io.BufferedReader:
        """An object as a seekable file: a reader of Parquet fetches only the row groups that it needs."""
        return io.BufferedReader(_Ranges(self, found), BLOCK_BYTES)

    def read_range(self, found: StoredObject, start: int, stop: int) -> bytes:
        """Bytes of an object from `start` to before `stop`, of the generation that was found."""
        with translated("read", self.address, found.name):
            return self._content(found.name, start=start, end=stop - 1, if_generation_match=found.generation)

    def read_generation(self, name: str) -> tuple[bytes, int] | None:
        """Content and generation of an object; None where there is none."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        def look() -> tuple[bytes, int] | None:  # two requests: others may replace the object in between
            found = self.find(name)
            return found and (self._content(name, if_generation_match=found.generation), found.generation)

        with translated("read", self.address, name):
            return retrying((NotFound, PreconditionFailed), attempts=10, first_seconds=0.01)(look)

    def put(self, name: str, content: bytes, generation: int | None = None) -> bool:
        """Writes an object if it has the generation (`ABSENT`: none; None: any); returns whether it was written."""
        from google.api_core.exceptions import PreconditionFailed

        with translated("write", self.address, name):
            # A browser shows a report that is linked to; anything else it would only save.
            content_type = "text/html; charset=utf-8" if name.endswith(".html") else BYTES
            try:
                self._blob(name).upload_from_string(
                    content,
                    content_type=content_type,
                    if_generation_match=generation,
                    checksum="crc32c",
                    **self._bounds,
                )
            except PreconditionFailed:
                return False
        return True

    def create(self, path: Path, name: str) -> bool:
        """Uploads a file where there is no object of this name yet; returns whether it was written."""
        from google.api_core.exceptions import PreconditionFailed

        with translated("write", self.address, name):
            try:
                self._blob(name).upload_from_filename(
                    path, content_type=BYTES, if_generation_match=ABSENT, checksum="crc32c", **self._bounds
                )
            except PreconditionFailed:
                return False
        return True

    def upload(self, files: Iterable[tuple[Path, str]]) -> None:
        """Uploads files under the names beside them, several at once; the store checks their checksums."""

        def upload(name: str, path: Path) -> None:
            self._blob(name).upload_from_filename(path, content_type=BYTES, checksum="crc32c", **self._bounds)

        self._at_once("write", {name: partial(upload, name, path) for path, name in files})

    def download(self, files: Iterable[tuple[str, Path]]) -> None:
        """Downloads objects to the paths beside them, several at once; checksums are checked."""

        def download(name: str, path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                self._blob(name).download_to_file(file, checksum="crc32c", **self._bounds)
                file.flush()
                os.fsync(file.fileno())

        self._at_once("read", {name: partial(download, name, path) for name, path in files})

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects, several at once; missing ones are ignored."""
        from google.api_core.exceptions import NotFound

        def delete(name: str) -> None:
            with suppress(NotFound):
                self._blob(name).delete(**self._bounds)

        self._at_once("delete", {name: partial(delete, name) for name in names})

    def checksum(self, content: bytes | Path) -> str:
        """Checksum of bytes or of a file, as listings give it: CRC32C, big-endian, in base64."""
        import google_crc32c

        value = 0
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                value = google_crc32c.extend(value, block)
        return base64.b64encode(value.to_bytes(4, "big")).decode("ascii")

    @cached_property
    def _connection(self) -> _Connection:
        return _connect(self.address.anonymous, self.address.endpoint)

    @cached_property
    def _bucket(self) -> Any:
        return self._connection.client.bucket(self.address.bucket)

    @cached_property
    def _bounds(self) -> dict[str, Any]:
        # Every request may be repeated: reads, uploads of the same bytes, and writes with a precondition. The library
        # retries itself, because it resumes uploads and downloads where they stopped.
        from google.cloud.storage.retry import DEFAULT_RETRY

        seconds = self.address.retry_seconds
        retry = DEFAULT_RETRY.with_delay(initial=min(1.0, seconds / 10), maximum=10.0).with_timeout(seconds)
        return {"retry": retry, "timeout": (CONNECT_SECONDS, min(READ_SECONDS, max(seconds, 1.0)))}

    def _at_once(self, action: Action, calls: dict[str, Callable[[], None]]) -> None:
        """Makes a call for each object; after one error the rest is not tried."""

        def call(name: str) -> None:
            with translated(action, self.address, name):
                calls[name]()

        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                for future in [pool.submit(call, name) for name in calls]:
                    future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _blob(self, name: str) -> Any:
        return self._bucket.blob(self._prefix + name)

    def _blobs(self, folder: str, **options: Any) -> Any:
        client, bucket = self._connection.client, self.address.bucket
        return client.list_blobs(bucket, prefix=self._prefix + folder, **options, **self._bounds)

    def _content(self, name: str, **options: Any) -> bytes:
        content: bytes = self._blob(name).download_as_bytes(checksum="crc32c", **options, **self._bounds)
        return content

    def _describe(self, blob: Any) -> StoredObject:
        # An object that was written in several pieces has no MD5.
        digest = f"md5Hash:{blob.md5_hash}" if blob.md5_hash else f"crc32c:{blob.crc32c}"
        name, created = blob.name.removeprefix(self._prefix), blob.time_created.timestamp()
        return StoredObject(name, blob.size, blob.crc32c, digest, created, blob.generation)


def check_inside(name: str, folder: str) -> str:
    """The relative name of an object; StoreError if a copy of it would be written outside the local folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise StoreError(f"{folder}: the name {name!r} leads out of this folder; remove the object")
    return name


class _Connection:
    """A client and its credentials; closed when it is no longer referenced."""

    def __init__(self, anonymous: bool, endpoint: str) -> None:
        from google.cloud import storage

        options = {"client_options": {"api_endpoint": endpoint}} if endpoint else {}
        self.credentials = credentials(anonymous=anonymous)
        # Objects belong to a bucket: no project is needed.
        self.client = storage.Client(project=None, credentials=self.credentials, **options)
        weakref.finalize(self, self.client.close)


_connect = lru_cache(maxsize=8)(_Connection)


class _Ranges(io.RawIOBase):
    def __init__(self, objects: GoogleObjects, found: StoredObject) -> None:
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
