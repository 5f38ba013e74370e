"""The models that servers and clients are tested with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import written_once


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with all signatures of the contract; hands off."""
    return written_once.tiny_model(tmp_path_factory)


@pytest.fixture(scope="session")
def conformance_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`conformance/{1,2}` and `models.config`; hands off."""
    return written_once.conformance_models(tmp_path_factory)
