"""The conformance suite sees no difference between TensorFlow Serving's contract and the same behind the sidecar."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.request_log import LogOptions
from serving.server.config import ServerConfig
from serving.server.model_sources import ConfigFile
from serving.server.server import ModelServer
from tests.serving.request_log.calls import read_log
from tests.serving.request_log.upstream import sidecar

PROJECT = Path(__file__).parents[3]


@pytest.mark.slow
def test_sidecar_passes_the_conformance_suite(conformance_models: Path, tmp_path: Path) -> None:
    source = ConfigFile(conformance_models / "models.config", allow_unavailable_labels=True)
    options = LogOptions(str(tmp_path / "log"), fields=("*",))
    with (
        ModelServer(source, ServerConfig(grpc_port=0, rest_port=0)) as server,
        sidecar(f"127.0.0.1:{server.rest_port}", f"127.0.0.1:{server.grpc_port}", options).running() as ports,
    ):
        addresses = {
            "SLIPWAY_CONFORMANCE_REST": f"127.0.0.1:{ports.rest_port}",
            "SLIPWAY_CONFORMANCE_GRPC": f"127.0.0.1:{ports.grpc_port}",
        }
        suite = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n0", "tests/conformance"],
            cwd=PROJECT, env={**os.environ, **addresses}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert suite.returncode == 0, suite.stdout
    assert len(read_log(tmp_path / "log")) > 100
