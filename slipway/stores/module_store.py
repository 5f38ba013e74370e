"""Modules, published under the digest of their content, on this machine or in a bucket.

`<root>/<module>/<sha256>/` holds a module's files, or the part of them that one step depends on. A run names such
folders only, so an edited module never changes what a run, or a cache, means. The shared features that its module.yaml
names are files of a module, too.
"""

import hashlib
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from slipway.errors import ConfigError, ModuleError, StoreError
from slipway.module_api.features import VIEW_NAME
from slipway.remote.objects import ABSENT, Objects, open_objects
from slipway.stores import storage
from slipway.strict_yaml import read_value

SIZE_LIMIT = 10_000_000
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
VIEW = re.compile(VIEW_NAME)
# Holds `contract:` of module.yaml in views, which leave module.yaml out.
CONTRACT_FILE = "contract.txt"

# Files that a step does not depend on are left out of its view, so that editing them keeps the step cached.
SCHEMA = "schema.pbtxt"
METRICS = "metrics.py"
_NOT_CODE = frozenset({"module.yaml", SCHEMA, "sample.py", "README.md"})

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class PublishedModule:
    """One content of a module; each URI ends in the digest of what it holds.

    `schema_uri` is empty without a schema, `metrics_uri` without metrics of its own.
    """

    name: str
    digest: str
    uri: str
    preprocessing_uri: str
    model_uri: str
    schema_uri: str
    metrics_uri: str


def publish_module(folder: str | Path, root: str | Path) -> PublishedModule:
    """Copies the module in a folder to `<root>/<name>/<digest>/`, and its views for transform and training.

    Published content is reused. On this machine each folder appears by one rename, and a damaged one is replaced; in a
    bucket no object is overwritten, and all are compared by checksum at the end.

    Raises:
        ModuleError: the folder is not a module, is too large, or holds a symbolic link.
        StoreError: the copy cannot be written, or other files are in its place.
    """
    name, files = _read(folder)
    parent_uri = _parent_uri(str(root), name)
    objects = open_objects(parent_uri) if storage.is_remote(parent_uri) else None
    try:
        for digest, view in _by_digest(files).items():
            if objects:
                _upload(digest, view, objects)
            else:
                _write(view, Path(parent_uri) / digest)
    except OSError as error:
        raise StoreError(f"cannot publish {folder} under {root}: {error}") from error
    return _locate(name, files, str(root))


def locate_module(folder: str | Path, root: str | Path) -> PublishedModule:
    """The URIs that `publish_module` would return; writes nothing, and raises the same errors."""
    return _locate(*_read(folder), str(root))


def is_published(name: str, files: Files, root: str) -> bool:
    """Whether a module with these files and all its views are published below a root, complete and unchanged."""
    parent_uri, parts = _parent_uri(root, name), _by_digest(files)
    if not storage.is_remote(root):
        return all(_is_intact(Path(parent_uri) / digest) for digest in parts)
    objects = open_objects(parent_uri)
    return all(_stored(digest, objects) == _sums(digest, view, objects) for digest, view in parts.items())


def digest_module(folder: str | Path) -> str:
    """SHA-256, in hex, over the relative path and the bytes of every file of a module's content.

    Caches and hidden files do not count; nor do times and permissions. Raises as `publish_module` does.
    """
    return digest_files(read_files(Path(folder)))


def digest_files(files: Files) -> str:
    """Digest of files in memory; see `digest_module`."""
    total = hashlib.sha256()
    for path, content in sorted(files.items()):
        # Lengths separate a path from its content unambiguously.
        total.update(f"{len(path.encode())}:{path}:{len(content)}:".encode())
        total.update(content)
    return total.hexdigest()


def counts(path: str) -> bool:
    """Whether a file belongs to the content of a module; caches and hidden files do not. `path` is relative."""
    parts = PurePosixPath(path).parts
    return not any(part.startswith(".") or part == "__pycache__" or part.endswith(".pyc") for part in parts)


def read_files(folder: Path) -> dict[str, bytes]:
    """The files of a module by relative POSIX path, shared features included; see `digest_module`."""
    if not folder.is_dir():
        raise ModuleError(f"{folder} is not a directory; a module is a folder with a module.yaml")
    paths = {path.relative_to(folder).as_posix(): path for path in _walk(folder)}
    check_size(str(folder), {name: path.stat().st_size for name, path in paths.items()})
    files = {name: path.read_bytes() for name, path in paths.items()}
    for shared in shared_features(files):
        if shared not in files:  # a published copy has them
            path = folder.resolve().parent.parent / shared
            if not path.is_file():
                raise ModuleError(f"{folder}/module.yaml names the shared feature {shared}, but {path} is missing")
            files[shared] = path.read_bytes()
    return dict(sorted(files.items()))


def shared_features(files: Files) -> list[str]:
    """The paths, in the project and in the module's content, of the shared features that its module.yaml names."""
    named = _config(files).get("features")
    views = (one.get("view") for one in (named if isinstance(named, list) else ()) if isinstance(one, dict))
    return sorted({f"features/{view}.sql" for view in views if isinstance(view, str) and VIEW.fullmatch(view)})


def check_size(folder: str, sizes: Mapping[str, int]) -> None:
    """Refuses a module that is too large to be code, with a ModuleError that names the largest file."""
    total = sum(sizes.values())
    if total > SIZE_LIMIT:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ModuleError(
            f"{folder} holds {total:,} bytes; a module is code, {SIZE_LIMIT:,} bytes at most. "
            f"Move data out of it: {largest} has {sizes[largest]:,} bytes"
        )


def _views(files: Files) -> tuple[Files, ...]:
    """All files, and those that transforming, training, the schema and the module's own metrics depend on.

    The last two may be empty. `metrics.py` is left out of the others only where `module.yaml` names its metrics: else
    it is a file like any other.
    """
    contract = {CONTRACT_FILE: f"{contract_of(files)}\n".encode()}
    schema = {SCHEMA: files[SCHEMA]} if files.get(SCHEMA, b"").strip() else {}
    not_code = _NOT_CODE.union(shared_features(files))
    code = {path: content for path, content in files.items() if path not in not_code} | contract
    metrics = code if _config(files).get("metrics") else {}
    model = {path: content for path, content in code.items() if not metrics or path != METRICS}
    preprocessing = {path: content for path, content in model.items() if path != "model.py"}
    return files, preprocessing, model, schema, metrics


def contract_of(files: Files) -> Any:
    """Version of `slipway.module_api` that the files are written for; 1 if they do not state one."""
    if CONTRACT_FILE in files:
        text = files[CONTRACT_FILE].decode(errors="replace").strip()
        return int(text) if text.isdecimal() else text
    return _config(files).get("contract", 1)


def _config(files: Files) -> dict[str, Any]:
    try:
        config = read_value(files.get("module.yaml", b"").decode(errors="replace"), "module.yaml")
    except ConfigError as error:
        raise ModuleError(str(error)) from error
    return config if isinstance(config, dict) else {}


def _walk(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if not counts(entry.name):
            continue
        if entry.is_symlink():
            raise ModuleError(f"{entry} is a symbolic link; copy the file itself into the module")
        if entry.is_dir():
            yield from _walk(entry)
        else:
            yield entry


def _read(folder: str | Path) -> tuple[str, Files]:
    source = Path(folder).resolve()
    if not NAME.fullmatch(source.name):
        raise ModuleError(f"{folder}: a module's name is lower-case letters, digits and _, not {source.name!r}")
    return source.name, read_files(source)


def _locate(name: str, files: Files, root: str) -> PublishedModule:
    parent_uri = _parent_uri(root, name)
    uris = [storage.join(parent_uri, digest_files(view)) if view else "" for view in _views(files)]
    return PublishedModule(name, digest_files(files), *uris)


def _parent_uri(root: str, name: str) -> str:
    uri = storage.join(root, name)
    return uri if storage.is_remote(uri) else str(storage.local_path(uri).absolute())


def _by_digest(files: Files) -> dict[str, Files]:
    return {digest_files(view): view for view in _views(files) if view}


def _upload(digest: str, files: Files, objects: Objects) -> None:
    """Writes missing objects, never over another one, and compares the result."""
    sums, stored = _sums(digest, files, objects), _stored(digest, objects)
    if stored == sums:
        return
    for path, content in files.items():
        if f"{digest}/{path}" not in stored:
            objects.put(f"{digest}/{path}", content, ABSENT)
    stored = _stored(digest, objects)
    if stored != sums:
        differ = min(name for name in stored.keys() | sums.keys() if stored.get(name) != sums.get(name))
        raise StoreError(
            f"{objects.address.below(differ)} is not what was published under this digest, and a published module is "
            f"never overwritten. Find out who wrote it, delete {objects.address.below(digest)}, and run again"
        )


def _stored(digest: str, objects: Objects) -> dict[str, str]:
    return {name: found.checksum for name, found in objects.objects(f"{digest}/").items()}


def _sums(digest: str, files: Files, objects: Objects) -> dict[str, str]:
    return {f"{digest}/{path}": objects.checksum(content) for path, content in files.items()}


def _write(files: Files, target: Path) -> None:
    if _is_intact(target):
        return
    staging = target.with_name(f".staging-{uuid.uuid4().hex[:8]}")
    try:
        for path, content in files.items():
            copy = staging / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
        if target.exists():
            target.rename(f"{staging}-damaged")
        try:
            staging.rename(target)
        except OSError:
            if not _is_intact(target):  # another run published the same bytes in between
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(f"{staging}-damaged", ignore_errors=True)


def _is_intact(folder: Path) -> bool:
    return folder.is_dir() and digest_module(folder) == folder.name
