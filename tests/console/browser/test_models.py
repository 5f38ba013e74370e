"""Models in a real browser: a version is promoted, from its page to the history; pictures for the guide."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from console.site import Site
from delivery.environment import open_environment
from tests.browser import LAPTOP, PHONE, open_browser
from tests.console.models.shelf import HOSTILE, push_versions
from tests.console.served import served


@pytest.mark.parametrize("scripts", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_version_is_promoted_by_clicks_and_keys(home: Path, scripts: bool) -> None:
    store, (first, second) = push_versions(home, 2)
    store.promote("taxi", first)
    site = Site(open_environment(), allow_actions=True)

    async def look() -> None:
        async with served(site) as client, open_browser() as browser:
            page = await browser.open(str(client.make_url(f"/models/taxi/{second}")), scripts=scripts)
            await page.click(f'a[href="/models/taxi/{second}/promote"]')
            await page.run("document.querySelector('[name=why]').value = 'as agreed with <b>Ann</b>'")
            await page.click("form.action button")
            text = await page.run("document.querySelector('main').innerText")
            assert f"version {first}" in text
            assert "as agreed with <b>Ann</b>" in text
            assert store.look("taxi")[0].pin == first
            await page.click("form.action button")
            text = await page.run("document.querySelector('main').innerText")
            assert f"Version {second} of taxi is stable; version {first} is retired" in text
            assert "as agreed with <b>Ann</b>" in await page.run("document.querySelector('#history').innerText")
            assert page.errors == []

    asyncio.run(look())
    assert store.look("taxi")[0].pin == second


def test_pages_of_models_are_accessible_and_fit_a_phone(home: Path) -> None:
    store, (first, second, third, last) = push_versions(home, 4)
    for number in (first, second, third):
        store.promote("taxi", number, why="as agreed", says="ann")
    store.rollback("taxi", why=f"p99 doubled {HOSTILE}")
    store.mark_canary("taxi", last)
    site = Site(open_environment(), allow_actions=True)
    paths = ("/models", "/models/taxi", f"/models/taxi/{third}", "/models/taxi/rollback",
             f"/models/taxi/{third}/release", "/models/taxi/retrain", "/models/none")  # fmt: skip

    async def look() -> None:
        async with served(site) as client, open_browser() as browser:
            for width, dark in ((LAPTOP, False), (PHONE, True)):
                for path in paths:
                    page = await browser.open(str(client.make_url(path)), width=width, dark=dark)
                    found = await page.violations(), page.errors if "none" not in path else [], await page.overflows()
                    assert found == ([], [], False), (path, width)
            page = await browser.open(str(client.make_url("/models")), width=PHONE)
            top = await page.run(
                "JSON.stringify([...document.querySelectorAll('.tiles dd')].map(one => one.innerText))"
            )
            assert json.loads(top)[0] == "0.9010"

    asyncio.run(look())
