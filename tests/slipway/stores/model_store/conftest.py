"""A model store of each kind: on this machine, on gs:// and on s3://."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipway.stores import storage
from slipway.stores.model_store import LocalModelStore, ModelStore
from slipway.stores.model_store.remote import RemoteModelStore
from tests.model_files import write_model
from tests.slipway.stores.model_store.kinds import KINDS, OpenStore
from tests.small_disk import mount_small_disk


@pytest.fixture(params=KINDS)
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store of each kind will be."""
    if request.param == "local":
        return str(tmp_path / "store")
    proxy = request.getfixturevalue({"gs": "google_proxy", "s3": "s3_proxy"}[request.param])
    return str(proxy.uri("store", retry_seconds=20))


@pytest.fixture
def open_it(uri: str) -> OpenStore:
    """Opens the same store, as another person would, with a clock."""

    def opened(clock: Callable[[], float] = time.time) -> ModelStore:
        return RemoteModelStore(uri, clock) if storage.is_remote(uri) else LocalModelStore(Path(uri), clock)

    return opened


@pytest.fixture
def store(open_it: OpenStore) -> ModelStore:
    return open_it()


@pytest.fixture
def local_store(tmp_path: Path) -> LocalModelStore:
    return LocalModelStore(tmp_path / "store")


@pytest.fixture
def new_model(tmp_path: Path) -> Callable[[int], Path]:
    return lambda seed: write_model(tmp_path / f"model-{seed}", seed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk", "256k") as disk:
        yield disk
