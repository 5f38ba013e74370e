from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipway.stores.model_store import LocalModelStore
from tests.model_files import write_model
from tests.small_disk import mount_small_disk


@pytest.fixture
def store(tmp_path: Path) -> LocalModelStore:
    return LocalModelStore(tmp_path / "store")


@pytest.fixture
def new_model(tmp_path: Path) -> Callable[[int], Path]:
    return lambda seed: write_model(tmp_path / f"model-{seed}", seed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk", "256k") as disk:
        yield disk
