"""`make smoke` against a real server, as the workflow calls it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.server.config import ServerConfig
from serving.server.model_sources import OneVersion
from serving.server.server import ModelServer
from settings.load import PROJECT
from slipway.stores.model_store import LocalModelStore, Version
from tests.model_files import provenance


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """The only version in a store."""
    from tests.served_models import write_saved_model

    folder = tmp_path_factory.mktemp("smoke")
    return LocalModelStore(folder / "store").push(write_saved_model(folder / "model"), provenance("taxi")).version


def smoke(server: ModelServer, store: Path) -> str:
    environment = {
        "SLIPWAY_CONFORMANCE_REST": f"127.0.0.1:{server.rest_port}",
        "SLIPWAY_CONFORMANCE_GRPC": f"127.0.0.1:{server.grpc_port}",
        "SLIPWAY_CONFORMANCE_STORE": str(store),
    }
    command = [sys.executable, "-m", "pytest", "-n0", "tests/conformance/test_smoke.py"]
    done = subprocess.run(
        command, cwd=PROJECT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_smoke_asks_what_the_store_has_in_production(version: Version) -> None:
    with ModelServer(
        OneVersion("taxi", Path(version.uri), version.number), ServerConfig(grpc_port=0, rest_port=0)
    ) as server:
        said = smoke(server, Path(version.uri).parent.parent)
    assert re.search(r"= 6 passed in", said), said


@pytest.mark.slow
def test_smoke_fails_where_another_version_is_served_or_none_is_in_production(version: Version, tmp_path: Path) -> None:
    with ModelServer(
        OneVersion("taxi", Path(version.uri), version.number + 1), ServerConfig(grpc_port=0, rest_port=0)
    ) as server:
        said = smoke(server, Path(version.uri).parent.parent)
        nothing = smoke(server, tmp_path)
    assert "test_rest_predict_answers_the_golden_requests" in said
    assert re.search(r"= \d failed", said), said
    assert f"{tmp_path} has no model in production" in nothing
