"""Files by URI: local paths, gs:// and s3://, with the few operations that steps and commands need.

Every function raises `StoreError` where a file cannot be listed, read, written or deleted. Written files appear under
their names only when they are whole, with the permissions that the umask leaves.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, NamedTuple, cast
from urllib.parse import unquote, urlsplit

from slipway.errors import StoreError
from slipway.remote.address import in_bucket as in_bucket
from slipway.remote.address import is_remote as is_remote
from slipway.remote.address import shown
from slipway.remote.objects import ABSENT, Objects, StoredObject, check_inside, open_object, open_objects

BLOCK_BYTES = 1 << 20


class StoredFile(NamedTuple):
    """One file below a folder: its URI, its path relative to that folder, its size in bytes, when it was written."""

    uri: str
    name: str
    size: int
    changed: float


def local_path(uri: str) -> Path:
    """The path behind a local URI; StoreError for a remote one."""
    if is_remote(uri):
        raise StoreError(f"{uri} is not a local path")
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)


def join(uri: str, *names: str) -> str:
    """The URI of something below a folder; the query (`?endpoint_override=…`) of a remote URI stays at the end."""
    path, question, query = uri.partition("?") if is_remote(uri) else (uri, "", "")
    return f"{path.rstrip('/')}/{'/'.join(names)}{question}{query}"


def exists(uri: str) -> bool:
    """Whether there is a file or a folder."""
    if not is_remote(uri):
        return local_path(uri).exists()
    objects, name = open_object(uri)
    return bool(name and objects.find(name)) or bool(open_objects(uri).names(""))


def list_files(uri: str) -> list[StoredFile]:
    """All files below a folder, at any depth, by name; a missing folder has none."""
    if is_remote(uri):
        found = open_objects(uri).objects("").values()
        files = [StoredFile(join(uri, each.name), each.name, each.size, each.created) for each in found]
    else:
        root = local_path(uri)
        with _translated(uri, "list"):
            found_here = [(path, path.stat()) for path in root.rglob("*") if path.is_file()]
            files = [
                StoredFile(str(path), path.relative_to(root).as_posix(), its.st_size, its.st_mtime)
                for path, its in found_here
            ]
    return sorted(files, key=lambda file: file.name)


def list_names(uri: str) -> list[str]:
    """Names of the files and folders directly in a folder, sorted; a missing folder has none."""
    if is_remote(uri):
        return open_objects(uri).names("")
    root = local_path(uri)
    with _translated(uri, "list"):
        return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


def open_read(uri: str, *, buffered: bool = True) -> IO[bytes]:
    """A file, to be read in any order; without a buffer, a remote one sends only the bytes that are read."""
    if is_remote(uri):
        objects, found = _find(uri)
        return cast("IO[bytes]", objects.open(found, buffered=buffered))
    with _translated(uri, "read"):
        return local_path(uri).open("rb")


def read_bytes(uri: str) -> bytes:
    """The content of a file."""
    if is_remote(uri):
        objects, name = open_object(uri)
        if (content := objects.read(name)) is None:
            raise _missing(uri)
        return content
    with _translated(uri, "read"):
        return local_path(uri).read_bytes()


def read_text(uri: str) -> str:
    """The content of a UTF-8 file."""
    return read_bytes(uri).decode("utf-8")


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a file."""
    if is_remote(uri):
        objects, name = open_object(uri)
        objects.put(name, content)
        return
    with _translated(uri, "write"), _beside(local_path(uri)) as new:
        new.write_bytes(content)


def write_new(uri: str, content: bytes) -> bool:
    """Writes a file unless there is one already; returns whether this content is there now."""
    if is_remote(uri):
        objects, name = open_object(uri)
        # A repeated request may find its own object.
        return objects.put(name, content, ABSENT) or objects.read(name) == content
    path = local_path(uri)
    with _translated(uri, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = _hidden(path)
        try:
            new.write_bytes(content)
            os.link(new, path)  # unlike a rename, it replaces nothing
        except FileExistsError:
            return path.read_bytes() == content
        finally:
            new.unlink(missing_ok=True)
    return True


def write_text(uri: str, content: str) -> None:
    """Writes a UTF-8 file."""
    write_bytes(uri, content.encode("utf-8"))


def copy(source: str, target: str) -> None:
    """Copies one file; at least one of the two is local."""
    if is_remote(target):
        objects, name = open_object(target)
        objects.upload([(local_path(source), name)])
    elif is_remote(source):
        objects, name = open_object(source)
        with _translated(target, "write"), _beside(local_path(target)) as new:
            objects.download([(name, new)])
    else:
        with (
            open_read(source) as reader,
            _translated(target, "write"),
            _beside(local_path(target)) as new,
            new.open("wb") as writer,
        ):
            shutil.copyfileobj(reader, writer, BLOCK_BYTES)


@contextmanager
def creating(uri: str, scratch: str) -> Iterator[Path]:
    """A path of this machine for a file that appears under `uri` when the block ends without an exception.

    Until then a local one is in the folder `scratch`, of the same disk, where a killed writer leaves it. Another writer
    of the same file is no error: of two, a bucket keeps the first.
    """
    if is_remote(uri):
        objects, name = open_object(uri)
        with TemporaryDirectory(prefix="slipway-") as folder:
            path = Path(folder) / name
            with _translated(uri, "write"):
                yield path
            objects.create(path, name)
    else:
        with _translated(uri, "write"), _beside(local_path(uri), local_path(scratch)) as new:
            yield new


def copy_folder(source: str, target: str, last: str = "") -> None:
    """Copies all files below a folder in the order of their names, but `last` at the end."""
    files = list_files(source)
    if not files:
        raise StoreError(f"{shown(source)}: there is no such folder, or it is empty")
    for file in sorted(files, key=lambda file: file.name == last):
        copy(file.uri, join(target, check_inside(file.name, source)))


@contextmanager
def as_local_folder(uri: str) -> Iterator[Path]:
    """A folder on this machine, for libraries that read no other: itself, or a copy for as long as the block lasts."""
    if not is_remote(uri):
        yield local_path(uri)
        return
    with TemporaryDirectory(prefix="slipway-") as folder:
        copy_folder(uri, folder)
        yield Path(folder)


def fingerprint(uri: str) -> tuple[int, str]:
    """Size in bytes and checksum of a remote object, without reading it."""
    found = _find(uri)[1]
    return found.size, found.digest


def delete_file(uri: str) -> None:
    """Removes a file, if it exists."""
    if is_remote(uri):
        objects, name = open_object(uri)
        objects.delete([name])
    else:
        with _translated(uri, "write"):
            local_path(uri).unlink(missing_ok=True)


def delete_folder(uri: str) -> None:
    """Removes a folder and all below it, if it exists."""
    if is_remote(uri):
        open_objects(uri).clear()
    else:
        shutil.rmtree(local_path(uri), ignore_errors=True)


def _find(uri: str) -> tuple[Objects, StoredObject]:
    objects, name = open_object(uri)
    if (found := objects.find(name)) is None:
        raise _missing(uri)
    return objects, found


def _hidden(path: Path) -> Path:
    """A new name that keeps readers of the folder away; opened without a mode, it gets 0666 less the umask."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


@contextmanager
def _beside(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """A path beside `path`, or in a folder, for a file that replaces it when the block ends without an exception."""
    folder = folder or path.parent
    folder.mkdir(parents=True, exist_ok=True)
    new = _hidden(folder / path.name)
    try:
        yield new
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@contextmanager
def _translated(uri: str, action: str) -> Iterator[None]:
    """Turns errors of this machine's file system into `StoreError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise _missing(uri) from error
    except OSError as error:
        fix = f"{'make room, or ' if action == 'write' else ''}correct the path or its permissions"
        raise StoreError(f"{uri}: cannot {action}: {error.strerror or error}; {fix}") from error


def _missing(uri: str) -> StoreError:
    return StoreError(f"{shown(uri)}: there is no such file; correct the path")
