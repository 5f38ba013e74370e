from __future__ import annotations

from pathlib import Path

import pytest

from console.site import Site
from delivery.environment import open_environment


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state that the console shows."""
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def site(home: Path) -> Site:
    """A console of that state."""
    return Site(open_environment())
