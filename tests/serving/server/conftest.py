"""Real versions on disk and real servers on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.server.versions_on_disk import VersionsOnDisk


@pytest.fixture
def versions(tiny_model: Path, tmp_path: Path) -> VersionsOnDisk:
    """A base path, still empty."""
    return VersionsOnDisk(tiny_model, tmp_path / "base")
