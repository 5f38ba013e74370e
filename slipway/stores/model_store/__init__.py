"""The model store: versions of models, ready to be polled by model servers, and the origin of each."""

from slipway.errors import StoreError
from slipway.stores import storage
from slipway.stores.model_store.local import LocalModelStore
from slipway.stores.model_store.manifest import Manifest, Provenance, Pushed, Version, digest_model
from slipway.stores.model_store.remote import RemoteModelStore
from slipway.stores.model_store.state import Action, Event, Seen, Stage, State, last_move, served_last
from slipway.stores.model_store.store import ModelStore

__all__ = [
    "Action",
    "Event",
    "LocalModelStore",
    "Manifest",
    "ModelStore",
    "Provenance",
    "Pushed",
    "Seen",
    "Stage",
    "State",
    "Version",
    "digest_model",
    "last_move",
    "open_store",
    "served_last",
]


def open_store(uri: str) -> ModelStore:
    """The model store at a URI: a directory of this machine, or in a bucket; StoreError for any other."""
    if uri.startswith(("/s3/", "/minio/")):
        raise StoreError(f"{uri} is where a step has copies of a bucket; name the store s3://{uri.split('/', 2)[2]}")
    if uri.startswith("/gcs/"):
        raise StoreError(
            f"{uri} is a bucket that Cloud Storage FUSE mounts, where no version can appear by one rename; "
            f"name the store gs://{uri.removeprefix('/gcs/')}"
        )
    return RemoteModelStore(uri) if storage.is_remote(uri) else LocalModelStore(storage.local_path(uri))
