"""Fixtures of the commands that roll out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.kubernetes.world import World, open_staging


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A home with three versions, and an overlay of staging that is filled in."""
    with open_staging(tmp_path, monkeypatch) as opened:
        yield opened
