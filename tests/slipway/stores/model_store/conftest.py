from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipway.lineage import Lineage
from slipway.stores.model_store import LocalModelStore, Provenance
from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.storage_server import _emulator, storage_server
from tests.small_disk import mount_small_disk

__all__ = ["_emulator", "fault_proxy", "storage_server"]


def provenance(model: str = "taxi") -> Provenance:
    return Provenance(model=model, lineage=Lineage(run="run-1", module=model, module_digest="d", data_uri="trips.csv"))


def write_model(folder: Path, seed: int = 0) -> Path:
    """Files named as a SavedModel's; the store does not look into them."""
    for name, size in (
        ("saved_model.pb", 3_000),
        ("fingerprint.pb", 50),
        ("variables/variables.index", 200),
        ("variables/variables.data-00000-of-00001", 5_000),
        ("assets/vocabulary", 0),
        ("assets.extra/golden.json", 100),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{seed}-{name}-".encode().ljust(size, b"x")[: max(size, 0)])
    return folder


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
