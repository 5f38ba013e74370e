"""The files of a run: its record and what its steps left, and nothing else."""

from __future__ import annotations

from pathlib import PurePosixPath

from slipway.errors import StoreError
from slipway.runs.store import RunView
from slipway.stores import storage
from slipway.stores.storage import StoredFile

RECORD = "record"


def artifacts_of(view: RunView) -> dict[str, str]:
    """The URIs of what there is of a run, by name: its record, its artifacts, and its steps' pages."""
    outputs = {f"{step.name}.{name}": uri for step in view.steps for name, uri in step.outputs.items()}
    pages = {name: outputs[name] for name in view.summary.lineage.shows.pages.values() if name in outputs}
    return {**pages, **view.summary.artifacts, RECORD: view.uri}


def files_of(uri: str) -> list[StoredFile]:
    """The files of an artifact; of one that is a file, that one, without a name."""
    if not storage.is_remote(uri) and storage.local_path(uri).is_file():
        its = storage.local_path(uri).stat()
        return [StoredFile(uri, "", its.st_size, its.st_mtime)]
    return storage.list_files(uri)


def file_of(uri: str, path: str) -> str:
    """The URI of a file inside an artifact; StoreError for a path that leads elsewhere."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\0" in path or any(part in (".", "..") for part in path.split("/")):
        raise StoreError(f"{path!r} is no file of this artifact")
    found = storage.join(uri, *parts)
    if storage.is_remote(uri):
        return found
    local = storage.local_path(uri) / path
    if not local.resolve().is_relative_to(storage.local_path(uri).resolve()) or not local.is_file():
        raise StoreError(f"{path!r} is no file of this artifact")
    return str(local)
