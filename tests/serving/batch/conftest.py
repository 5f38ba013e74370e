"""What the tests of batch prediction share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch_jobs import Batch, push
from tests.shared_folders import shared_folder


@pytest.fixture(scope="session")
def batch_home(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A home whose store has one version."""
    return shared_folder(
        tmp_path_factory, "batch-home", lambda folder: push(Batch(str(folder)).store, tiny_model, folder)
    )


@pytest.fixture
def batch(batch_home: Path) -> Batch:
    return Batch(str(batch_home))
