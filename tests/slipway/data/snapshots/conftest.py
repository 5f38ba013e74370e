from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["here", "gs", pytest.param("s3", marks=pytest.mark.slow)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where snapshots are kept: on this machine, or in a bucket of each kind; on s3:// in the slow suite."""
    if request.param == "here":
        return str(tmp_path / "home" / "data")
    proxy = request.getfixturevalue({"gs": "google_proxy", "s3": "s3_proxy"}[request.param])
    return str(proxy.uri("home/data", retry_seconds=20))
