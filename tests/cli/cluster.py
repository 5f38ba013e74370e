"""An environment whose clusters and bucket are fake ones on this machine, named by SLIPWAY_ variables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.storage_server import StorageServer
from tests.fakes.vertex import FakeVertex
from tests.fakes.vertex.server import LOCATION, PROJECT

IMAGE = "europe-docker.pkg.dev/project/slipway/slipway@sha256:" + "0" * 64
DATA = "gs://bucket/trips.csv"


@pytest.fixture
def remote_home(storage_server: StorageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The bucket's folder that runs share; everything else of the settings that a run needs is set too."""
    uri = storage_server.uri("home")
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", uri)
    monkeypatch.setenv("SLIPWAY_IMAGE", IMAGE)
    for module in ("delivery.targets.base", "slipway.remote.retries"):
        monkeypatch.setattr(f"{module}.sleep", lambda seconds: None)
    return uri


@pytest.fixture
def kubeflow(remote_home: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubeflow]:
    with FakeKubeflow() as server:
        monkeypatch.setenv("SLIPWAY_KUBEFLOW__ENDPOINT", server.url)
        yield server


@pytest.fixture
def vertex(remote_home: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVertex]:
    with FakeVertex() as server:
        for name, value in {"PROJECT": PROJECT, "LOCATION": LOCATION, "ENDPOINT": server.url,
                            "LOGGING_ENDPOINT": server.url}.items():  # fmt: skip
            monkeypatch.setenv(f"SLIPWAY_VERTEX__{name}", value)
        yield server


def slipway(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def rollout(*arguments: str) -> Result:
    return slipway("rollout", *arguments, "--env", "staging")
