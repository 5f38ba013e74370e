"""Objects below a gs:// URI through google-cloud-storage: bounded retries, checked sums, errors that name the fix.

An emulator is named in the URI, as `slipway.stores.storage` does:
`gs://anonymous@bucket/path?scheme=http&endpoint_override=localhost:9023&retry_limit_seconds=2`.
"""

from __future__ import annotations

import base64
import os
import weakref
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from slipway.errors import StoreError
from slipway.stores.bucket_errors import NO_CREDENTIALS, Action, told
from slipway.stores.storage import BLOCK_BYTES

RETRY_SECONDS = 60.0
CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
WORKERS = 8


class StoredObject(NamedTuple):
    """An object as a listing has it: size in bytes, CRC32C in base64, when it was written by the server's clock."""

    size: int
    crc32c: str
    created: float


class Bucket:
    """The objects below one gs:// URI; names are relative to it.

    Args:
        uri: `gs://bucket/path`; `retry_limit_seconds` in its query bounds how long each operation is retried.

    Raises:
        StoreError: the URI is wrong.
    """

    def __init__(self, uri: str) -> None:
        address, _, query = uri.removeprefix("gs://").partition("?")
        account, _, path = address.rpartition("@")
        self._bucket_name, _, prefix = path.strip("/").partition("/")
        if not self._bucket_name:
            raise StoreError(f"{uri}: the bucket's name is missing; write gs://bucket/path")
        if account not in ("", "anonymous"):
            raise StoreError(
                f"{uri}: the account is {account!r}; only `anonymous` may be named, keep secrets out of URIs"
            )
        self._prefix = f"{prefix}/" if prefix else ""
        self._anonymous = bool(account)
        given = {name: values[-1] for name, values in parse_qs(query).items()}
        host = given.get("endpoint_override")
        self._endpoint = f"{given.get('scheme', 'https')}://{host}" if host else None
        self._retry_seconds = float(given.get("retry_limit_seconds", RETRY_SECONDS))

    def uri(self, name: str) -> str:
        """What messages call an object."""
        return f"gs://{self._bucket_name}/{self._prefix}{name}"

    @property
    def account(self) -> str | None:
        """The service account that the credentials name, if they do."""
        email = getattr(self._client._credentials, "service_account_email", None)
        return email if email and "@" in email else None

    def objects(self, folder: str) -> dict[str, StoredObject]:
        """Objects below a folder (ends with a slash, or is empty), by name; marks of folders are left out."""
        with self._told("list", folder):
            blobs = list(self._client.list_blobs(self._bucket_name, prefix=self._prefix + folder, **self._bounds))
        return {
            blob.name.removeprefix(self._prefix): StoredObject(blob.size, blob.crc32c, blob.time_created.timestamp())
            for blob in blobs
            if not blob.name.endswith("/")
        }

    def folders(self) -> list[str]:
        """Names of the folders directly below the URI, sorted."""
        with self._told("list", ""):
            pages = self._client.list_blobs(self._bucket_name, prefix=self._prefix, delimiter="/", **self._bounds)
            for _ in pages:
                pass
        return sorted(prefix.removeprefix(self._prefix).rstrip("/") for prefix in pages.prefixes)

    def read(self, name: str) -> bytes | None:
        """Content of an object; None where there is none."""
        from google.api_core.exceptions import NotFound

        with self._told("read", name):
            try:
                content: bytes = self._bucket.blob(self._prefix + name).download_as_bytes(
                    checksum="crc32c", **self._bounds
                )
            except NotFound:
                return None
        return content

    def read_generation(self, name: str) -> tuple[bytes, int] | None:
        """Content and generation of an object, in two requests; None where there is none."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with self._told("read", name):
            for _ in range(10):
                blob = self._bucket.get_blob(self._prefix + name, **self._bounds)
                if blob is None:
                    return None
                try:
                    generation = blob.generation
                    return blob.download_as_bytes(
                        if_generation_match=generation, checksum="crc32c", **self._bounds
                    ), generation
                except (NotFound, PreconditionFailed):
                    continue
        raise StoreError(f"{self.uri(name)} changes all the time: it was replaced between look and read, 10 times")

    def write(self, name: str, content: bytes, generation: int | None = None) -> bool:
        """Writes an object; False, and nothing is written, if it no longer has the generation (0: not there)."""
        from google.api_core.exceptions import PreconditionFailed

        with self._told("write", name):
            try:
                self._bucket.blob(self._prefix + name).upload_from_string(
                    content,
                    content_type="application/json",
                    if_generation_match=generation,
                    checksum="crc32c",
                    **self._bounds,
                )
            except PreconditionFailed:
                return False
        return True

    def upload(self, files: Iterable[tuple[Path, str]]) -> None:
        """Uploads files under the names beside them, several at once; the server checks their sums."""

        def one(item: tuple[Path, str]) -> None:
            path, name = item
            with self._told("write", name):
                blob = self._bucket.blob(self._prefix + name)
                blob.upload_from_filename(
                    path, content_type="application/octet-stream", checksum="crc32c", **self._bounds
                )

        _at_once(one, files)

    def download(self, names: Iterable[str], folder: str, target: Path) -> None:
        """Downloads objects below a folder to the same places below a directory, several at once, sums checked."""

        def one(name: str) -> None:
            inside = PurePosixPath(name.removeprefix(folder))
            if inside.is_absolute() or ".." in inside.parts:
                raise StoreError(f"{self.uri(name)}: this name leads out of its folder; remove the object")
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._told("read", name), path.open("wb") as file:
                self._bucket.blob(self._prefix + name).download_to_file(file, checksum="crc32c", **self._bounds)
                file.flush()
                os.fsync(file.fileno())

        _at_once(one, names)

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects, several at once; one that is not there is no error."""
        from google.api_core.exceptions import NotFound

        def one(name: str) -> None:
            with self._told("delete", name):
                try:
                    self._bucket.blob(self._prefix + name).delete(**self._bounds)
                except NotFound:
                    return

        _at_once(one, names)

    @cached_property
    def _client(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage

        options: dict[str, Any] = {"client_options": {"api_endpoint": self._endpoint}} if self._endpoint else {}
        if self._anonymous:
            options["credentials"] = AnonymousCredentials()  # type: ignore[no-untyped-call]
        try:
            # Objects belong to a bucket: no project is needed.
            client = storage.Client(project=None, **options)
        except GoogleAuthError as error:
            raise StoreError(f"{self.uri('')}: {NO_CREDENTIALS}: {error}") from error
        weakref.finalize(self, client.close)
        return client

    @cached_property
    def _bucket(self) -> Any:
        return self._client.bucket(self._bucket_name)

    @cached_property
    def _bounds(self) -> dict[str, Any]:
        # Every request here may be repeated: reads, uploads of the same bytes, and writes with a precondition.
        from google.cloud.storage.retry import DEFAULT_RETRY

        seconds = self._retry_seconds
        retry = DEFAULT_RETRY.with_delay(initial=min(1.0, seconds / 10), maximum=10.0).with_timeout(seconds)
        return {"retry": retry, "timeout": (CONNECT_SECONDS, min(READ_SECONDS, max(seconds, 1.0)))}

    def _told(self, action: Action, name: str) -> AbstractContextManager[None]:
        return told(action, self._bucket_name, self.uri(name), self._retry_seconds)


def _at_once(work: Any, items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        finally:
            # After one error the rest need not be tried.
            for future in futures:
                future.cancel()


def crc32c(path: Path) -> str:
    """CRC32C of a file, as Google Cloud Storage writes it: big-endian, base64."""
    import google_crc32c

    value = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            value = google_crc32c.extend(value, block)
    return base64.b64encode(value.to_bytes(4, "big")).decode("ascii")
