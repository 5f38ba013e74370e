"""The model store: versions of models that a poller may serve at any time, and where each of them came from."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from slipway import storage
from slipway.errors import StoreError
from slipway.model_store.local import LocalModelStore
from slipway.model_store.manifest import Manifest, ModelFile, Provenance, Pushed, Version, digest_model

__all__ = [
    "LocalModelStore",
    "Manifest",
    "ModelFile",
    "ModelStore",
    "Provenance",
    "Pushed",
    "Version",
    "digest_model",
    "open_store",
]


class ModelStore(Protocol):
    """What every store offers, wherever its bytes are.

    A version is an integer, grows, is never used twice, and is complete before anything can see it.
    """

    def models(self) -> list[str]:
        """Names of the models, sorted."""

    def versions(self, model: str) -> list[Version]:
        """Versions of a model that can be served, oldest first."""

    def version(self, model: str, number: int) -> Version:
        """One version.

        Raises:
            StoreError: there is no such version.
        """

    def production(self, model: str) -> Version | None:
        """The version that counts as production: the newest one."""

    def push(self, model_path: str | Path, provenance: Provenance) -> Pushed:
        """Stores a SavedModel as the next version, unless the newest version holds the same bytes.

        Raises:
            StoreError: it cannot be read or written; nothing of it is visible then.
        """

    def verify(self, version: Version) -> list[str]:
        """Hashes a version's files again; what differs from its manifest, one problem a line."""


def open_store(uri: str) -> ModelStore:
    """The model store at a URI: a local directory.

    Raises:
        StoreError: a store of this kind is not supported.
    """
    if storage.is_remote(uri):
        raise StoreError(
            f"{uri}: a model store is a local or mounted directory in this version; gs:// stores come with serving. "
            "Set the store to a path that all steps of the run share"
        )
    return LocalModelStore(storage.local_path(uri))
