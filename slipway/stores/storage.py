"""Files by URI: paths of this machine and gs://, with the few operations that the rooms need.

Local paths use the standard library, so that nothing heavy is imported for them; gs:// uses `pyarrow.fs`. An emulator
is named in the URI itself, as Arrow does: `gs://anonymous@bucket/path?scheme=http&endpoint_override=localhost:9023`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from slipway.errors import StoreError

if TYPE_CHECKING:
    from pyarrow import fs

BLOCK_BYTES = 1 << 20


class StoredFile(NamedTuple):
    """One file below a folder: its own URI, its path relative to that folder, its size in bytes."""

    uri: str
    name: str
    size: int


def is_remote(uri: str) -> bool:
    """Whether the URI is not a path of this machine.

    Raises:
        StoreError: the scheme is neither gs nor file.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme == "file":
        return False
    if scheme != "gs":
        raise StoreError(f"{uri}: {scheme}:// is not supported; use a local path, file:// or gs://")
    return True


def local_path(uri: str) -> Path:
    """The path behind a local URI.

    Raises:
        StoreError: the URI is remote.
    """
    if is_remote(uri):
        raise StoreError(f"{uri} is not a local path")
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)


def join(uri: str, *names: str) -> str:
    """The URI of something below a folder; a query (`?endpoint_override=…`) of a gs:// URI stays at the end."""
    path, question, query = uri.partition("?") if is_remote(uri) else (uri, "", "")
    return f"{path.rstrip('/')}/{'/'.join(names)}{question}{query}"


def exists(uri: str) -> bool:
    """Whether there is a file or a folder."""
    if not is_remote(uri):
        return local_path(uri).exists()
    filesystem, path = _remote(uri)
    return bool(filesystem.get_file_info(path).type)


def list_files(uri: str) -> list[StoredFile]:
    """All files below a folder, at any depth, by name; the empty objects that mark folders on gs:// are left out.

    A folder that is not there has no files.
    """
    if not is_remote(uri):
        root = local_path(uri)
        found = [StoredFile(str(path), path.relative_to(root).as_posix(), path.stat().st_size)
                 for path in root.rglob("*") if path.is_file()]  # fmt: skip
    else:
        from pyarrow import fs

        filesystem, path = _remote(uri)
        infos = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=True))
        names = {info.path: str(PurePosixPath(info.path).relative_to(path)) for info in infos}
        found = [StoredFile(join(uri, names[info.path]), names[info.path], info.size)
                 for info in infos if info.type == fs.FileType.File and not info.path.endswith("/")]  # fmt: skip
    return sorted(found, key=lambda file: file.name)


def list_names(uri: str) -> list[str]:
    """Names of the files and folders directly in a folder, sorted; none where there is no such folder."""
    if not is_remote(uri):
        root = local_path(uri)
        return sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    # Arrow lists no folder of gs:// that has no marker object, so the names come from the files below.
    return sorted({file.name.partition("/")[0] for file in list_files(uri)})


@contextmanager
def open_read(uri: str) -> Iterator[IO[bytes]]:
    """A file, to be read from its start.

    Raises:
        StoreError: there is no such file.
    """
    try:
        if is_remote(uri):
            filesystem, path = _remote(uri)
            stream: Any = filesystem.open_input_stream(path, compression=None)
        else:
            stream = local_path(uri).open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise StoreError(f"{uri}: there is no such file") from error
    with stream:
        yield stream


@contextmanager
def open_write(uri: str) -> Iterator[IO[bytes]]:
    """A new file that appears under its name only when the block ends without an exception; folders are made."""
    if not is_remote(uri):
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            os.fchmod(handle, 0o644)
            with os.fdopen(handle, "wb") as stream:
                yield stream
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        return
    # Closing Arrow's stream publishes what was written so far, so nothing is sent before all of it is there.
    with tempfile.TemporaryFile() as whole:
        yield whole
        whole.seek(0)
        filesystem, target = _remote(uri)
        with filesystem.open_output_stream(target, compression=None) as stream:
            shutil.copyfileobj(whole, stream, BLOCK_BYTES)


def read_bytes(uri: str) -> bytes:
    """The content of a file."""
    with open_read(uri) as stream:
        return stream.read()


def read_text(uri: str) -> str:
    """The content of a UTF-8 file."""
    return read_bytes(uri).decode("utf-8")


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a file, atomically."""
    if is_remote(uri):
        # All of it is here, so no file is needed in between: a container may have no place for one.
        filesystem, path = _remote(uri)
        with filesystem.open_output_stream(path, compression=None) as stream:
            stream.write(content)
        return
    with open_write(uri) as stream:
        stream.write(content)


def write_text(uri: str, content: str) -> None:
    """Writes a UTF-8 file, atomically."""
    write_bytes(uri, content.encode("utf-8"))


def copy(source: str, target: str) -> None:
    """Copies one file between any two URIs, atomically."""
    with open_read(source) as reader, open_write(target) as writer:
        shutil.copyfileobj(reader, writer, BLOCK_BYTES)


def copy_folder(source: str, target: str, last: str = "") -> None:
    """Copies all files below a folder, each atomically, in the order of their names, but `last` at the end.

    Raises:
        StoreError: there is nothing at the source.
    """
    files = list_files(source)
    if not files:
        raise StoreError(f"{source}: there is no such folder, or it is empty")
    for file in sorted(files, key=lambda file: file.name == last):
        copy(file.uri, join(target, file.name))


def fingerprint(uri: str) -> tuple[int, str]:
    """Size in bytes and checksum of a gs:// object, as the store keeps them: nothing is read.

    Google keeps an MD5 of an object that was written in one piece, and a CRC32C of every one.
    """
    filesystem, path = _remote(uri)
    with filesystem.open_input_stream(path, compression=None) as stream:
        metadata = stream.metadata()
    for name in ("md5Hash", "crc32c", "generation"):
        if value := metadata.get(name):
            return filesystem.get_file_info(path).size, f"{name}:{value.decode()}"
    raise StoreError(f"{uri}: the store tells no checksum of it")


def delete_folder(uri: str) -> None:
    """Removes a folder and all below it; one that is not there is no error."""
    if not is_remote(uri):
        shutil.rmtree(local_path(uri), ignore_errors=True)
        return
    filesystem, path = _remote(uri)
    for file in list_files(uri):
        filesystem.delete_file(f"{path}/{file.name}")


def _remote(uri: str) -> tuple[fs.FileSystem, str]:
    """Arrow's filesystem for a gs:// URI and the path `bucket/key` in it."""
    address, _, query = uri.removeprefix("gs://").partition("?")
    account, at, path = address.rpartition("@")
    bucket = path.partition("/")[0]
    if not bucket:
        raise StoreError(f"{uri}: the bucket's name is missing; write gs://bucket/path")
    return _filesystem(f"gs://{account}{at}{bucket}" + (f"?{query}" if query else "")), path.rstrip("/")


@lru_cache
def _filesystem(bucket_uri: str) -> fs.FileSystem:
    from pyarrow import fs

    return fs.FileSystem.from_uri(bucket_uri)[0]
