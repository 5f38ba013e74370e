"""Stores of objects on this machine that count what they are asked and what they answer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, Self

from tests.fakes.s3_server import S3Server
from tests.fakes.storage_server import BUCKET, StorageServer

PAGE = 1_000  # names that Cloud Storage and S3 answer at once


class Bucket(Protocol):
    """A store with files in it; `answered` are bytes of contents and listings."""

    scheme: str
    requests: int
    answered: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def uri(self, path: str) -> str:
        """With time for a listing of all that there is."""

    def fill(self, folder: Path, name: str) -> None:
        """Puts the files of a folder there, without requests."""


class GoogleBucket(StorageServer):
    """The emulator, which answers a listing at once; counted are the pages that Cloud Storage makes of it."""

    requests, answered = 0, 0

    def __enter__(self) -> Self:
        super().__enter__()
        answer, listed = self._server.finish_request, self._storage.get_file_list

        def counted(request: Any, client: Any) -> None:
            self.requests += 1
            answer(_Counted(request, self), client)  # type: ignore[arg-type]

        def find(*asked: Any, **options: Any) -> Any:
            objects, prefixes = found = listed(*asked, **options)
            self.requests += max(math.ceil((len(objects) + len(prefixes)) / PAGE) - 1, 0)
            return found

        self._server.finish_request, self._storage.get_file_list = counted, find  # type: ignore[method-assign,assignment]
        self._storage._write_config_to_file = lambda: None  # of all objects, at every write
        return self

    def uri(self, path: str) -> str:
        return super().uri(path).replace("retry_limit_seconds=2", "retry_limit_seconds=300")

    def fill(self, folder: Path, name: str) -> None:
        from gcp_storage_emulator.handlers.objects import _checksums, _make_object_resource

        for its, content in _files(folder, name):
            stored = _make_object_resource("", BUCKET, its, "application/octet-stream", len(content))
            self._storage.create_file(BUCKET, its, content, _checksums(content, stored))


class S3Bucket(S3Server):
    """moto's S3."""

    requests, answered = 0, 0

    def __enter__(self) -> Self:
        super().__enter__()
        server, lock = self._moto._server, Lock()
        app = server.app

        def counted(environment: Any, start: Any) -> list[bytes]:
            content = b"".join(app(environment, start))
            with lock:
                self.requests += 1
                self.answered += len(content)
            return [content]

        server.app = counted
        return self

    def uri(self, path: str) -> str:
        return self.proxied(self.port, path, 300)

    def fill(self, folder: Path, name: str) -> None:
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        for its, content in _files(folder, name):
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(BUCKET, its, content)


class _Counted:
    """A connection whose answers are counted."""

    def __init__(self, connection: Any, bucket: GoogleBucket) -> None:
        self._connection, self._bucket = connection, bucket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sendall(self, content: bytes) -> None:
        self._bucket.answered += len(content)
        self._connection.sendall(content)


def _files(folder: Path, name: str) -> Iterable[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes()
