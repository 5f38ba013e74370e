"""Records of runs as the console reads them.

A record names places, and who may write records must not make the console read what it alone may read: only what lies
below the environment's own places is read and named, of this machine with symbolic links followed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import astuple, replace
from functools import partial
from pathlib import PurePosixPath

from pipelines.registry import Locations
from slipway.errors import StoreError
from slipway.runs.store import RunView, view_run
from slipway.stores import storage
from slipway.stores.model_store import Version


def view_own(state: Locations, name: str, files: Collection[str] | None = None) -> RunView:
    """The run of a name with what it left in its environment; others than `files` of its record are not asked for."""
    return view_run(storage.join(state.runs, name), files=files, may_read=partial(is_own, state))


def with_own_artifacts(state: Locations, version: Version) -> Version:
    """A version whose manifest names only what lies in the environment."""
    own = {name: uri for name, uri in version.manifest.artifacts.items() if is_own(state, uri)}
    return replace(version, manifest=version.manifest.model_copy(update={"artifacts": own}))


def is_own(state: Locations, uri: str) -> bool:
    """Whether a URI names a place of the environment, or one below it."""
    artifacts, *places = astuple(state)
    return any(_is_below(uri, root) for root in (*places, *artifacts))


def _is_below(uri: str, root: str) -> bool:
    """A remote URI must be of the same service and account as its root, too: the query and the name before `@`."""
    try:
        if storage.is_remote(uri) != storage.is_remote(root):
            return False
        if not storage.is_remote(uri):
            return storage.local_path(uri).resolve().is_relative_to(storage.local_path(root).resolve())
    except (StoreError, OSError, ValueError):  # a scheme that is not known, a loop of links, a NUL
        return False
    (place, _, service), (folder, _, own_service) = uri.partition("?"), root.partition("?")
    inside = f"{place.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
    return inside and service == own_service and ".." not in PurePosixPath(place).parts
