"""The model store: versions of models that a poller may serve at any time, and where each of them came from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

from slipway.errors import StoreError
from slipway.stores import storage
from slipway.stores.model_store.local import LocalModelStore
from slipway.stores.model_store.manifest import Manifest, ModelFile, Provenance, Pushed, Version, digest_model
from slipway.stores.model_store.state import Event, Stage, last_move

__all__ = [
    "Event",
    "LocalModelStore",
    "Manifest",
    "ModelFile",
    "ModelStore",
    "Provenance",
    "Pushed",
    "Stage",
    "Version",
    "digest_model",
    "last_move",
    "open_store",
]


class ModelStore(Protocol):
    """What every store offers, wherever its bytes are.

    A version is an integer, grows, is never used twice, and is complete before anything can see it. It is pushed as
    a candidate, may become the canary, then stable, and ends as retired or quarantined; the rules are in `state.py`.
    The pin names the stable version: promotions and rollbacks move it, and rewrite no file of a version.

    Whatever changes a stage takes `why`, and `who` (the user or service account by default), for the history, and
    answers the history's line. Where the version is already what was asked for, that is the old line, and nothing
    changes: each of these calls may be repeated, but for a rollback.

    Every method raises `StoreError` where the store cannot be reached, read or written, or the version is not there.
    """

    def models(self) -> list[str]:
        """Names of the models, sorted."""

    def versions(self, model: str) -> list[Version]:
        """Versions of a model that can be served, oldest first."""

    def version(self, model: str, number: int) -> Version:
        """One version that can be served."""

    def production(self, model: str) -> Version | None:
        """The version that counts as production: the pin, or without one the newest that is not quarantined."""

    def stage(self, model: str, number: int) -> Stage:
        """The stage of one version."""

    def stages(self, model: str) -> dict[int, Stage]:
        """Stages of all versions that can be served, oldest first."""

    def history(self, model: str) -> list[Event]:
        """All that was done to a model's versions, oldest first; deleted ones stay in it."""

    def push(self, model_path: str | Path, provenance: Provenance) -> Pushed:
        """Stores a SavedModel as the next version, a candidate, unless the newest version holds the same bytes.

        Raises:
            ModelQuarantinedError: a version with these bytes was quarantined; they may not come back as another one.
            StoreError: it cannot be read or written. Nothing of it is visible then; or all of it, where a remote store
                fell silent at the very end: then the same push again finds it.
        """

    def verify(self, version: Version) -> list[str]:
        """Hashes a version's files again; what differs from its manifest, one problem a line."""

    def fetch(self, version: Version, folder: Path) -> Path:
        """A version's SavedModel as a directory of this machine, verified.

        Args:
            version: Which.
            folder: Where a remote store puts it, as `<folder>/<number>`, by one rename; one that is there is not
                fetched again. A local store answers its own directory.

        Raises:
            StoreError: the files are not those that were pushed.
        """

    def mark_canary(self, model: str, number: int, *, why: str = "", who: str = "") -> Event:
        """Says that a version gets a part of the traffic; a canary before it is a candidate again."""

    def promote(self, model: str, number: int, *, why: str = "", who: str = "") -> Event:
        """Moves the pin to a version; the one that was stable is retired.

        Raises:
            ModelQuarantinedError: the version is quarantined.
            StoreError: its files are not those that were pushed.
        """

    def rollback(
        self,
        model: str,
        to: int | None = None,
        *,
        leave: int | None = None,
        asked: float = math.inf,
        why: str = "",
        who: str = "",
    ) -> Event:
        """Moves the pin back to what was stable before, or to `to`, and quarantines the version that it leaves.

        It goes back only to a version that was promoted once. A second rollback goes further back.

        Args:
            model: Name of the model.
            to: The version to go back to.
            leave: The version that must be stable now; without it, the one that was stable when this was asked for.
            asked: When that was, in seconds since 1970; the moment of the call by default.
            why: The reason, for the history.
            who: For the history.

        Returns:
            `version` is in production now, `previous` is quarantined.

        Raises:
            ModelQuarantinedError: `to` is quarantined.
            StoreError: there is nothing to go back to, its files are not those that were pushed, or the pin was moved
                since this was asked for. Nothing is changed then.
        """

    def quarantine(self, model: str, number: int, *, why: str = "", who: str = "") -> Event:
        """Takes a version out for good.

        Raises:
            StoreError: it is the stable one; roll back, which quarantines it.
        """

    def retire(self, model: str, number: int, *, why: str = "", who: str = "") -> Event:
        """Takes a candidate or a canary out without a judgement: it may be promoted later."""

    def prune(self, model: str, keep: int, *, why: str = "", who: str = "") -> list[int]:
        """Deletes the files of old versions; their manifests, history and numbers stay.

        Never those of production, of the version that a rollback would go back to, of a canary, nor of the newest
        `keep` others.

        Returns:
            The versions that were deleted.
        """


def open_store(uri: str) -> ModelStore:
    """The model store at a URI: a directory of this machine, or `gs://bucket/path`.

    Raises:
        StoreError: a store of this kind is not supported.
    """
    if uri.startswith("/gcs/"):
        raise StoreError(
            f"{uri} is a bucket that Cloud Storage FUSE mounts, where no version can appear by one rename; "
            f"name the store gs://{uri.removeprefix('/gcs/')}"
        )
    if not storage.is_remote(uri):
        return LocalModelStore(storage.local_path(uri))
    from slipway.stores.model_store.gcs import GcsModelStore

    return GcsModelStore(uri)
