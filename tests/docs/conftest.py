"""What kubectl needs of a server that it logs in to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The API server's, with its key: kubectl sends a token over TLS alone."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    path.write_text(made.stdout)
    return path
