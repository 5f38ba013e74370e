from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.vertex import FakeVertex


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing really waits; what would have been waited, in seconds."""
    waited: list[float] = []
    for module in ("delivery.targets.base", "slipway.remote.retries"):
        monkeypatch.setattr(f"{module}.sleep", waited.append)
    return waited


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home; no client may leave anything there."""
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def kubeflow() -> Iterator[FakeKubeflow]:
    with FakeKubeflow() as server:
        yield server


@pytest.fixture
def vertex() -> Iterator[FakeVertex]:
    with FakeVertex() as server:
        yield server
