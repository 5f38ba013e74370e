"""Objects on Google Cloud Storage, through google-cloud-storage: bounded retries and checked checksums.

pyarrow's file system is not used: it has no preconditions, which claims and states need, and raises plain OSErrors.
"""

from __future__ import annotations

import base64
import os
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from slipway.remote.address import Address
from slipway.remote.google_errors import translated
from slipway.remote.google_login import credentials
from slipway.remote.objects import StoredObject
from slipway.remote.retries import retrying

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
BLOCK_BYTES = 1 << 20
WORKERS = 8

_Item = TypeVar("_Item")


class GoogleObjects:
    """See `slipway.remote.objects.Objects`."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._prefix = f"{address.path}/" if address.path else ""

    @property
    def account(self) -> str | None:
        """The service account of the credentials."""
        with translated("read", self.address, ""):
            email = getattr(self._connection.credentials, "service_account_email", None)
        return email if email and "@" in email else None

    def uri(self, name: str) -> str:
        """What messages call an object."""
        return self.address.below(name)

    def objects(self, folder: str) -> dict[str, StoredObject]:
        """Objects below a folder, at any depth."""
        with translated("list", self.address, folder):
            found = [self._describe(blob) for blob in self._blobs(folder)]
        return {each.name: each for each in found if each.name and not each.name.endswith("/")}

    def names(self, folder: str) -> list[str]:
        """Names directly in a folder."""
        with translated("list", self.address, folder):
            blobs = self._blobs(folder, delimiter="/")
            paths = [blob.name for blob in blobs if not blob.name.endswith("/")]
            paths += [path.removesuffix("/") for path in blobs.prefixes]
        return sorted(path.removeprefix(self._prefix + folder) for path in paths)

    def find(self, name: str) -> StoredObject | None:
        """An object without its content."""
        with translated("read", self.address, name):
            blob = self._bucket.get_blob(self._prefix + name, **self._bounds)
        return self._describe(blob) if blob else None

    def read(self, name: str) -> bytes | None:
        """Content of an object."""
        from google.api_core.exceptions import NotFound

        with translated("read", self.address, name):
            try:
                return self._content(name)
            except NotFound:
                return None

    def read_range(self, found: StoredObject, start: int, stop: int) -> bytes:
        """Part of an object."""
        with translated("read", self.address, found.name):
            return self._content(found.name, start=start, end=stop - 1, if_generation_match=found.generation)

    def read_generation(self, name: str) -> tuple[bytes, int] | None:
        """Content and generation, in two requests: others may replace the object in between."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        def look() -> tuple[bytes, int] | None:
            found = self.find(name)
            return found and (self._content(name, if_generation_match=found.generation), found.generation)

        with translated("read", self.address, name):
            return retrying((NotFound, PreconditionFailed), attempts=10, first_seconds=0.01)(look)

    def put(self, name: str, content: bytes, generation: int | None = None) -> bool:
        """Writes an object, if it still has the generation."""
        from google.api_core.exceptions import PreconditionFailed

        with translated("write", self.address, name):
            try:
                self._bucket.blob(self._prefix + name).upload_from_string(
                    content,
                    content_type="application/octet-stream",
                    if_generation_match=generation,
                    checksum="crc32c",
                    **self._bounds,
                )
            except PreconditionFailed:
                return False
        return True

    def upload(self, files: Iterable[tuple[Path, str]]) -> None:
        """Uploads files."""

        def one(item: tuple[Path, str]) -> None:
            path, name = item
            with translated("write", self.address, name):
                self._bucket.blob(self._prefix + name).upload_from_filename(
                    path, content_type="application/octet-stream", checksum="crc32c", **self._bounds
                )

        _at_once(one, files)

    def download(self, files: Iterable[tuple[str, Path]]) -> None:
        """Downloads objects."""

        def one(item: tuple[str, Path]) -> None:
            name, path = item
            with translated("read", self.address, name):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    self._bucket.blob(self._prefix + name).download_to_file(file, checksum="crc32c", **self._bounds)
                    file.flush()
                    os.fsync(file.fileno())

        _at_once(one, files)

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects."""
        from google.api_core.exceptions import NotFound

        def one(name: str) -> None:
            with translated("delete", self.address, name):
                try:
                    self._bucket.blob(self._prefix + name).delete(**self._bounds)
                except NotFound:
                    return

        _at_once(one, names)

    def checksum(self, content: bytes | Path) -> str:
        """CRC32C, big-endian, in base64."""
        import google_crc32c

        value = 0
        if isinstance(content, bytes):
            value = google_crc32c.value(content)
        else:
            with content.open("rb") as file:
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

    def _blobs(self, folder: str, **options: Any) -> Any:
        client, bucket = self._connection.client, self.address.bucket
        return client.list_blobs(bucket, prefix=self._prefix + folder, **options, **self._bounds)

    def _content(self, name: str, **options: Any) -> bytes:
        blob = self._bucket.blob(self._prefix + name)
        content: bytes = blob.download_as_bytes(checksum="crc32c", **options, **self._bounds)
        return content

    def _describe(self, blob: Any) -> StoredObject:
        # An object that was written in several pieces has no MD5.
        digest = f"md5Hash:{blob.md5_hash}" if blob.md5_hash else f"crc32c:{blob.crc32c}"
        name, created = blob.name.removeprefix(self._prefix), blob.time_created.timestamp()
        return StoredObject(name, blob.size, blob.crc32c, digest, created, blob.generation)


class _Connection:
    """A client and its credentials; closed when it is no longer referenced."""

    def __init__(self, anonymous: bool, endpoint: str) -> None:
        from google.cloud import storage

        options = {"client_options": {"api_endpoint": endpoint}} if endpoint else {}
        self.credentials = credentials(anonymous=anonymous)
        # Objects belong to a bucket: no project is needed.
        self.client = storage.Client(project=None, credentials=self.credentials, **options)
        weakref.finalize(self, self.client.close)


@lru_cache(maxsize=8)
def _connect(anonymous: bool, endpoint: str) -> _Connection:
    return _Connection(anonymous, endpoint)


def _at_once(work: Callable[[_Item], None], items: Iterable[_Item]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        finally:
            # After one error the rest need not be tried.
            for future in futures:
                future.cancel()
