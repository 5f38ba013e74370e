"""Objects on Google Cloud Storage, through google-cloud-storage: bounded retries and checked checksums.

pyarrow's file system is not used: it has no preconditions, which claims and states need, and raises plain OSErrors.
"""

from __future__ import annotations

import base64
import io
import os
import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

from slipway.remote.google_errors import translated
from slipway.remote.google_login import credentials, email
from slipway.remote.interface import (
    BLOCK_BYTES,
    CONNECT_SECONDS,
    READ_SECONDS,
    Action,
    Objects,
    StoredObject,
    content_type,
)
from slipway.remote.retries import retrying


class GoogleObjects(Objects):
    """Objects below an address on Google Cloud Storage."""

    @cached_property
    def account(self) -> str:
        """E-mail of the account that the requests are made as; empty if Google does not tell it."""
        with self._translated("read", ""):
            return email(self._connection.credentials)

    def objects(self, folder: str, *, marks: bool = False) -> dict[str, StoredObject]:
        with self._translated("list", folder):
            found = [self._describe(blob) for blob in self._blobs(folder)]
        return {each.name: each for each in found if each.name and not each.name.endswith("/")}

    def holds(self, folder: str) -> bool:
        with self._translated("list", folder):
            # The folder's own mark comes first.
            return any(not blob.name.endswith("/") for blob in self._blobs(folder, max_results=2))

    def names(self, folder: str) -> list[str]:
        with self._translated("list", folder):
            blobs = self._blobs(folder, delimiter="/")
            paths = [blob.name for blob in blobs if not blob.name.endswith("/")]
            paths += [path.removesuffix("/") for path in blobs.prefixes]
        return sorted(path.removeprefix(self._prefix + folder) for path in paths)

    def find(self, name: str) -> StoredObject | None:
        with self._translated("read", name):
            blob = self._bucket.get_blob(self._prefix + name, **self._bounds)
        return self._describe(blob) if blob else None

    def read(self, name: str) -> bytes | None:
        from google.api_core.exceptions import NotFound

        with self._translated("read", name):
            try:
                return self._content(name)
            except NotFound:
                return None

    def read_range(self, found: StoredObject, start: int, stop: int) -> bytes:
        with self._translated("read", found.name):
            return self._content(found.name, start=start, end=stop - 1, if_generation_match=int(found.generation))

    def read_generation(self, name: str) -> tuple[bytes, str] | None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        def look() -> tuple[bytes, str] | None:  # two requests: others may replace the object in between
            found = self.find(name)
            return found and (self._content(name, if_generation_match=int(found.generation)), found.generation)

        with self._translated("read", name):
            return retrying((NotFound, PreconditionFailed), attempts=10, first_seconds=0.01)(look)

    def put(self, name: str, content: bytes, generation: str | None = None) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        with self._translated("write", name):
            try:
                self._blob(name).upload_from_string(
                    content,
                    content_type=content_type(name),
                    if_generation_match=None if generation is None else int(generation or 0),
                    checksum="crc32c",
                    **self._bounds,
                )
            except PreconditionFailed:
                return False
        return True

    def create(self, path: Path, name: str) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        with self._translated("write", name):
            try:
                self._blob(name).upload_from_filename(
                    path, content_type=content_type(name), if_generation_match=0, checksum="crc32c", **self._bounds
                )
            except PreconditionFailed:
                return False
        return True

    def upload(self, files: Iterable[tuple[Path, str]]) -> None:

        def upload(name: str, path: Path) -> None:
            self._blob(name).upload_from_filename(
                path, content_type=content_type(name), checksum="crc32c", **self._bounds
            )

        self._at_once("write", ((name, partial(upload, name, path)) for path, name in files))

    def download(self, files: Iterable[tuple[str, Path]]) -> None:

        def download(name: str, path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                self._blob(name).download_to_file(file, checksum="crc32c", **self._bounds)
                file.flush()
                os.fsync(file.fileno())

        self._at_once("read", ((name, partial(download, name, path)) for name, path in files))

    def delete(self, names: Iterable[str]) -> None:
        from google.api_core.exceptions import NotFound

        def delete(name: str) -> None:
            with suppress(NotFound):
                self._blob(name).delete(**self._bounds)

        self._at_once("delete", ((name, partial(delete, name)) for name in names))

    def clear(self) -> None:
        # The marks of folders too, which TensorFlow writes: a folder is there as long as its mark.
        with self._translated("list", ""):
            names = [blob.name.removeprefix(self._prefix) for blob in self._blobs("")]
        self.delete(names)

    def checksum(self, content: bytes | Path) -> str:
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

    def _translated(self, action: Action, name: str) -> AbstractContextManager[None]:
        return translated(action, self.address, name)

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
        return StoredObject(name, blob.size, blob.crc32c, digest, created, str(blob.generation))


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
