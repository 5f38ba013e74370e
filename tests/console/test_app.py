from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from console.app import POLICY
from console.site import Site
from delivery.environment import open_environment
from tests.console.served import served


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    return Site(open_environment())


@pytest.mark.parametrize("path", ["/", "/runs", "/models", "/data"])
def test_a_page_has_the_policy(site: Site, path: str) -> None:
    async def ask() -> None:
        async with served(site) as client, client.get(path) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Security-Policy"] == POLICY
            assert "unsafe" not in POLICY
            assert not answer.cookies

    asyncio.run(ask())
