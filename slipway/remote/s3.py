"""Objects on S3, or on a store that speaks as it does, through obstore: conditional writes and checked checksums.

A generation is the object's ETag. Credentials, endpoint, region and CA come from the variables that AWS's own programs
read; `s3_login.py` names them. Why obstore is docs/decisions/0069-s3-through-obstore.md.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from slipway.errors import StoreError
from slipway.remote.interface import (
    ABSENT,
    BLOCK_BYTES,
    CONNECT_SECONDS,
    READ_SECONDS,
    WORKERS,
    Action,
    Objects,
    StoredObject,
    content_type,
)
from slipway.remote.retries import retrying
from slipway.remote.s3_errors import NO_SUCH_BUCKET, may_pass, translated
from slipway.remote.s3_login import Login, find_login, server_name

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta, PutMode
    from obstore.store import S3Store

# Larger files go up, and larger objects come down, in parts. A part must pass within READ_SECONDS: 1 Mbit/s do.
PART_BYTES = 8 << 20
PARTS_AT_ONCE = 4  # of one file
# Written once, and never replaced on a store that keeps conditions; its ETag tells whether these are MD5.
PROBE, PROBE_CONTENT = ".slipway-probe", b"Slipway wrote this to see whether the store keeps conditions of writes.\n"
WRONG_ETAG = f'"{"0" * 32}"'

Answer = TypeVar("Answer")

# Whether ETags are MD5, by endpoint and bucket; those that are not here were not probed yet.
_md5_etags: dict[tuple[str, str], bool] = {}
_probing = Lock()


class S3Objects(Objects):
    """Objects below an address on S3."""

    @cached_property
    def account(self) -> str:
        """The role of a web identity, or the ID of the access key, which is no secret."""
        return self._login.account

    def objects(self, folder: str, *, marks: bool = False) -> dict[str, StoredObject]:
        import obstore

        with self._translated("list", folder):
            found = self._again(lambda: obstore.list(self._store, self._prefix + folder).collect())
        paths = [each["path"] for each in found]
        folders = {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}
        below = [each for each in found if each["path"].startswith(self._prefix) and each["path"] not in folders]
        left_out = set() if marks else self._marks([each["path"] for each in below if not each["size"]])
        kept = (self._describe(each) for each in below if each["path"] not in left_out)
        return {each.name: each for each in kept}

    def holds(self, folder: str) -> bool:
        import obstore

        def first() -> list[ObjectMeta]:
            # A page of 1,000 names is asked for when it is needed; the first may be the folder's own mark.
            return list(next(obstore.list(self._store, self._prefix + folder, chunk_size=2), []))

        with self._translated("list", folder):
            found = self._again(first)
        return any(each["path"].startswith(self._prefix + folder) for each in found)

    def names(self, folder: str) -> list[str]:
        import obstore

        path = self._prefix + folder
        with self._translated("list", folder):
            found = self._again(lambda: obstore.list_with_delimiter(self._store, path))
        paths = [*(each["path"] for each in found["objects"]), *found["common_prefixes"]]
        return sorted({one.removeprefix(path) for one in paths if one.startswith(path)})

    def find(self, name: str) -> StoredObject | None:
        import obstore

        with self._translated("read", name):
            try:
                return self._describe(self._again(lambda: obstore.head(self._store, self._prefix + name)))
            except FileNotFoundError:
                return None

    def read(self, name: str) -> bytes | None:
        found = self.read_generation(name)
        return found and found[0]

    def read_range(self, found: StoredObject, start: int, stop: int) -> bytes:
        with self._translated("read", found.name):
            return self._get(found.name, {"range": (start, stop), "if_match": found.generation})[0]

    def read_generation(self, name: str) -> tuple[bytes, str] | None:
        with self._translated("read", name):
            try:
                content, generation = self._get(name, {})
            except FileNotFoundError as error:
                if NO_SUCH_BUCKET in str(error):
                    raise
                return None
            self._check(name, content, generation)
        return content, generation

    def put(self, name: str, content: bytes, generation: str | None = None) -> bool:
        return self._put(name, content, generation)

    def create(self, path: Path, name: str) -> bool:
        return self._put(name, path, ABSENT)

    def upload(self, files: Iterable[tuple[Path, str]]) -> None:
        import obstore

        def upload(name: str, path: Path) -> None:
            path.stat()  # raises an OSError that names the file
            obstore.put(
                self._store,
                self._prefix + name,
                path,
                attributes={"Content-Type": content_type(name)},
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

        self._at_once("write", ((name, partial(self._again, partial(upload, name, path))) for path, name in files))

    def download(self, files: Iterable[tuple[str, Path]]) -> None:
        paths, found = dict(files), dict[str, StoredObject]()

        def prepare(name: str, path: Path) -> None:
            found[name] = self._required(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(found[name].size)

        def part(each: StoredObject, path: Path, start: int) -> None:
            content = self.read_range(each, start, min(start + PART_BYTES, each.size))
            with path.open("r+b") as file:
                file.seek(start)
                file.write(content)

        def finish(each: StoredObject, path: Path) -> None:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            self._check(each.name, path, each.generation)

        self._at_once("read", ((name, partial(prepare, name, path)) for name, path in paths.items()))
        parts = (
            (name, partial(part, each, paths[name], start))
            for name, each in found.items()
            for start in range(0, each.size, PART_BYTES)
        )
        self._at_once("read", parts)
        self._at_once("read", ((name, partial(finish, each, paths[name])) for name, each in found.items()))

    def delete(self, names: Iterable[str]) -> None:
        import obstore

        def delete(name: str) -> None:
            self._again(lambda: obstore.delete(self._store, self._prefix + name))

        self._at_once("delete", ((name, partial(delete, name)) for name in names))

    def checksum(self, content: bytes | Path) -> str:
        if self._place not in _md5_etags:
            try:
                self._probe()
            except StoreError:  # who may only read finds nothing that was written under other rules
                return _etag(content)
        return _etag(content) if _md5_etags[self._place] else ""

    @cached_property
    def _login(self) -> Login:
        return find_login(self.address)

    @property
    def _place(self) -> tuple[str, str]:
        return self._login.endpoint, self.address.bucket

    @cached_property
    def _store(self) -> S3Store:
        from obstore.store import S3Store

        seconds = self.address.retry_seconds
        wait = timedelta(seconds=min(READ_SECONDS, max(seconds, 1.0)))
        return S3Store(
            self.address.bucket,
            **self._login.options,
            # One request an object: not every store has S3's deletion of many.
            disable_bulk_delete=True,
            client_options={
                **self._login.client_options,
                "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, max(seconds, 1.0))),
                "read_timeout": wait,
                "timeout": timedelta(hours=1),
            },
            retry_config={
                "max_retries": 100,
                "retry_timeout": timedelta(seconds=seconds),
                "backoff": {
                    "init_backoff": timedelta(seconds=min(1.0, seconds / 10)),
                    "max_backoff": timedelta(seconds=10),
                },
            },
        )

    def _translated(self, action: Action, name: str) -> AbstractContextManager[None]:
        return translated(action, self.address, name)

    def _again(self, call: Callable[[], Answer]) -> Answer:
        """Calls again what obstore does not: writes with a condition, bodies that break off, too many requests."""
        seconds = self.address.retry_seconds
        first = min(1.0, seconds / 10)
        again = retrying(may_pass, attempts=100, seconds=seconds, first_seconds=first, longest_seconds=10.0)
        answer: Answer = again(call)
        return answer

    def _put(self, name: str, content: bytes | Path, generation: str | None) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        if generation is not None:
            self._probe()
        mode: PutMode = "overwrite" if generation is None else {"e_tag": generation} if generation else "create"

        def put() -> None:
            if isinstance(content, Path):
                content.stat()  # raises an OSError that names the file
            # What has a condition goes up in one piece: of several, the condition is checked only at the end.
            obstore.put(
                self._store,
                self._prefix + name,
                content,
                mode=mode,
                attributes={"Content-Type": content_type(name)},
                use_multipart=False,
            )

        with self._translated("write", name):
            try:
                self._again(put)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def _get(self, name: str, options: GetOptions) -> tuple[bytes, str]:
        import obstore

        def get() -> tuple[bytes, str]:
            found = obstore.get(self._store, self._prefix + name, options=options)
            return bytes(found.bytes()), found.meta["e_tag"] or ""

        return self._again(get)

    def _required(self, name: str) -> StoredObject:
        if (found := self.find(name)) is None:
            raise StoreError(f"{self.address.below(name)}: cannot read: there is no such file, or correct the URI")
        return found

    def _marks(self, empty: list[str]) -> set[str]:
        """Which of these are marks of folders: empty objects whose names end with a slash, which obstore cuts off.

        Nothing else in a listing tells them from empty objects, which are there under the name without it.
        """
        with ThreadPoolExecutor(WORKERS) as threads:
            found = threads.map(lambda path: self.find(path.removeprefix(self._prefix)), empty)
            return {path for path, its in zip(empty, found, strict=True) if its is None}

    def _describe(self, found: ObjectMeta) -> StoredObject:
        etag = found["e_tag"] or ""
        checksum = etag if _md5_etags.get(self._place, True) else ""
        name, created = found["path"].removeprefix(self._prefix), found["last_modified"].timestamp()
        return StoredObject(name, found["size"], checksum, f"ETag:{etag}", created, etag)

    def _check(self, name: str, content: bytes | Path, etag: str) -> None:
        """Refuses content with another ETag, where that tells: others may have sent it in parts of another size."""
        if not _md5_etags.get(self._place):
            return
        own = _etag(content)
        if own != etag and own.partition("-")[2] == etag.partition("-")[2]:
            raise StoreError(
                f"{self.address.below(name)}: cannot read: the received bytes differ from the stored ones: their ETag "
                f"is {own}, not {etag}; run again"
            )

    def _probe(self) -> None:
        """Refuses a store that ignores the conditions of writes; asked once for a bucket."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def writes(mode: PutMode) -> bool:
            def put() -> None:
                obstore.put(self._store, self._prefix + PROBE, PROBE_CONTENT, mode=mode, use_multipart=False)

            try:
                self._again(put)
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

        with _probing, self._translated("write", PROBE):
            if self._place in _md5_etags:
                return
            # The first may write the object; from then on each condition must fail.
            if (writes("create") and writes("create")) or writes({"e_tag": WRONG_ETAG}):
                raise StoreError(
                    f"{self.address.below('')}: the store at {self._login.endpoint or 'S3'} "
                    f"({server_name(self._login)}) ignores the conditions of writes, If-None-Match and If-Match, "
                    "without which two pushes at once overwrite each other. Use a release that keeps them, or another "
                    "store"
                )
            found = obstore.head(self._store, self._prefix + PROBE)
            _md5_etags[self._place] = found["e_tag"] == _etag(PROBE_CONTENT)


def _etag(content: bytes | Path) -> str:
    """The ETag that S3 gives to bytes, and to a file that `upload` sends in parts; not where a KMS encrypts."""
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if isinstance(content, bytes) or size <= PART_BYTES:
            return f'"{_md5(file, size).hexdigest()}"'
        parts = [_md5(file, PART_BYTES).digest() for _ in range(0, size, PART_BYTES)]
    return f'"{hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"'


def _md5(file: Any, size: int) -> Any:
    total = hashlib.md5(usedforsecurity=False)
    while size and (block := file.read(min(BLOCK_BYTES, size))):
        total.update(block)
        size -= len(block)
    return total
