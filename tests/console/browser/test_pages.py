"""Each page in a real browser: readable on a phone, light and dark, without scripts, by a screen reader."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from console.site import Site
from delivery.environment import open_environment
from tests.browser import LAPTOP, PHONE, open_browser
from tests.console.served import served


def test_pages_are_accessible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    site = Site(open_environment())

    async def look() -> None:
        async with served(site) as client, open_browser() as browser:
            for width, dark in ((LAPTOP, False), (PHONE, True)):
                page = await browser.open(str(client.make_url("/runs")), width=width, dark=dark)
                assert (await page.violations(), page.errors, await page.overflows()) == ([], [], False)

    asyncio.run(look())
