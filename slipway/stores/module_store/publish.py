"""Publishes a module under the digest of its content, on this machine or in a bucket."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from slipway.errors import ModuleError, StoreError
from slipway.remote.objects import ABSENT, Objects
from slipway.remote.opening import open_objects
from slipway.stores import storage
from slipway.stores.module_store.content import NAME, Files, digest_files, read_files, views


@dataclass(frozen=True)
class PublishedModule:
    """One content of a module; each URI ends in the digest of what it holds. `schema_uri` is empty without a schema."""

    name: str
    digest: str
    uri: str
    preprocessing_uri: str
    model_uri: str
    schema_uri: str


def publish_module(folder: str | Path, root: str | Path) -> PublishedModule:
    """Copies a module to `<root>/<name>/<digest>/`, and its views for transform and training.

    Published content is reused. On this machine each folder appears by one rename, and a damaged one is replaced; in a
    bucket no object is overwritten, and all are compared by checksum at the end.

    Args:
        folder: The module; its name is the module's name.
        root: Local directory or remote URI below which modules are published.

    Raises:
        ModuleError: the folder is no module, too large, or holds a symbolic link.
        StoreError: the copy cannot be written, or other files are in its place.
    """
    name, files = _read(folder)
    module = _locate(name, files, str(root))
    try:
        if storage.is_remote(module.uri):
            objects = open_objects(_parent_uri(str(root), name))
            for view in filter(None, views(files)):
                _upload(view, objects)
        else:
            for view in filter(None, views(files)):
                _write(view, Path(module.uri).with_name(digest_files(view)))
    except OSError as error:
        raise StoreError(f"cannot publish {folder} under {root}: {error}") from error
    return module


def locate_module(folder: str | Path, root: str | Path) -> PublishedModule:
    """The URIs that `publish_module` would return; writes nothing, and raises the same errors."""
    return _locate(*_read(folder), str(root))


def is_published(name: str, files: Files, root: str) -> bool:
    """Whether a module with these files and all its views are published below a root, complete and unchanged."""
    parent_uri = _parent_uri(root, name)
    if storage.is_remote(root):
        objects = open_objects(parent_uri)
        return all(_stored(view, objects) == _sums(view, objects) for view in filter(None, views(files)))
    digests = [digest_files(view) for view in filter(None, views(files))]
    return all(_is_intact(Path(parent_uri) / digest, digest) for digest in digests)


def _read(folder: str | Path) -> tuple[str, Files]:
    source = Path(folder).resolve()
    if not NAME.fullmatch(source.name):
        raise ModuleError(f"{folder}: a module's name is lower-case letters, digits and _, not {source.name!r}")
    return source.name, read_files(source)


def _locate(name: str, files: Files, root: str) -> PublishedModule:
    parent_uri = _parent_uri(root, name)
    uris = [storage.join(parent_uri, digest_files(view)) if view else "" for view in views(files)]
    return PublishedModule(name, digest_files(files), *uris)


def _parent_uri(root: str, name: str) -> str:
    uri = storage.join(root, name)
    return uri if storage.is_remote(uri) else str(storage.local_path(uri).absolute())


def _upload(files: Files, objects: Objects) -> None:
    """Writes missing objects, never over another one, and compares the result."""
    sums, stored = _sums(files, objects), _stored(files, objects)
    if stored != sums:
        digest = digest_files(files)
        for path, content in files.items():
            if f"{digest}/{path}" not in stored:
                objects.put(f"{digest}/{path}", content, ABSENT)
        stored = _stored(files, objects)
    if stored != sums:
        differ = sorted(name for name in stored.keys() | sums.keys() if stored.get(name) != sums.get(name))
        raise StoreError(
            f"{objects.uri(differ[0])} is not what was published under this digest, and a published module is never "
            f"overwritten. Find out who wrote it, delete the folder {objects.uri(digest_files(files))}, and run again"
        )


def _stored(files: Files, objects: Objects) -> dict[str, str]:
    return {name: found.checksum for name, found in objects.objects(f"{digest_files(files)}/").items()}


def _sums(files: Files, objects: Objects) -> dict[str, str]:
    digest = digest_files(files)
    return {f"{digest}/{path}": objects.checksum(content) for path, content in files.items()}


def _write(files: Files, target: Path) -> None:
    digest = target.name
    if _is_intact(target, digest):
        return
    parent = target.parent
    parent.mkdir(parents=True, exist_ok=True)
    staging = parent / f".staging-{uuid.uuid4().hex[:8]}"
    try:
        for path, content in files.items():
            copy = staging / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
        if target.exists():
            target.rename(staging.with_name(f"{staging.name}-damaged"))
        try:
            staging.rename(target)
        except OSError:
            # Another run published the same bytes in between.
            if not _is_intact(target, digest):
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(f"{staging}-damaged", ignore_errors=True)


def _is_intact(folder: Path, digest: str) -> bool:
    return os.path.lexists(folder) and digest_files(read_files(folder)) == digest
