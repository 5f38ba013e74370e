from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.fake_place import open_fake
from tests.cluster.places import Place
from tests.cluster.real_place import open_real, real_versions


@pytest.fixture(scope="session")
def context() -> str:
    """The context of the kubeconfig to test; empty for the fake."""
    return os.environ.get("SLIPWAY_TEST_CLUSTER", "")


@pytest.fixture(scope="session")
def versions(context: str, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    return real_versions(tmp_path_factory.mktemp("versions")) if context else None


@pytest.fixture
def place(context: str, versions: Path | None, tmp_path: Path) -> Iterator[Place]:
    if versions:
        with open_real(context, versions) as opened:
            yield opened
    else:
        with open_fake(tmp_path) as opened:
            yield opened
