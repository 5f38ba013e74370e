"""Real versions on disk and real servers on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.server.versions_on_disk import VersionsOnDisk


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with all signatures of the contract."""
    from tests.served_models import write_saved_model

    return write_saved_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def versions(tiny_model: Path, tmp_path: Path) -> VersionsOnDisk:
    """A base path, still empty."""
    return VersionsOnDisk(tiny_model, tmp_path / "base")
