from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tiny_module import write_module

if TYPE_CHECKING:
    from tests.fakes.s3_server import S3Server
    from tests.fakes.storage_server import StorageServer


@pytest.fixture
def module(tmp_path: Path) -> Path:
    return write_module(tmp_path / "modules" / "tiny")


@pytest.fixture(params=["gs", pytest.param("s3", marks=pytest.mark.slow)])
def storage_server(request: pytest.FixtureRequest) -> StorageServer | S3Server:
    """A store of objects of each kind; on s3:// in the slow suite."""
    server: StorageServer | S3Server = request.getfixturevalue(
        {"gs": "google_storage", "s3": "s3_server"}[request.param]
    )
    return server
