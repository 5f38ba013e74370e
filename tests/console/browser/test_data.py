"""The room of data in a real browser: the threshold that moves, forms without scripts, hostile names, axe."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from console.site import Site
from slipway.pages.numbers import format_share
from tests.browser import LAPTOP, PHONE, Page, open_browser
from tests.console.data.state import HOSTILE, add_run
from tests.console.served import served
from tests.judged_rows import binary, measure

RUN = "taxi-20260101-000000-aaaa"
TILES = "[...document.querySelectorAll('[data-part=decision] dd:not(.remark)')].map(one => one.textContent)"


@pytest.fixture(autouse=True)
def run(home: Path) -> None:
    """One whose features and slices have hostile names."""
    labels, scores, shops = binary()
    named = np.where(shops == "a", HOSTILE, shops).astype(object)
    hostile = HOSTILE.replace("\x00", "")
    rows = {hostile: [1.0, 2.0, 9.0], "kind": [hostile, "b" * 10_000, "b" * 10_000], "km": [17_031_262_500.0] * 3}
    add_run(
        home,
        RUN,
        rows,
        {"kind": ["a", "a", "c"], "km": [17_031_262_499.0] * 3},
        judged=measure("binary", labels, scores, named),
    )


async def shown(page: Page) -> list[str]:
    """Precision, recall, accuracy and the share predicted positive."""
    return list(await page.run(TILES))


def expected(threshold: float) -> list[str]:
    labels, scores, _ = binary()
    predicted = scores.astype(np.float64) > threshold
    return [format_share(float(score(labels, predicted))) for score in (precision_score, recall_score)]


def test_the_slider_moves_the_numbers_the_picture_and_the_address(site: Site) -> None:
    async def use() -> None:
        async with served(site) as client, open_browser() as browser:
            address = str(client.make_url(f"/data/slices?run={RUN}&metric=recall"))
            page = await browser.open(address)
            assert (await shown(page))[:2] == expected(0.5)
            dots = "document.querySelector('[data-part=slices]').innerHTML"
            before = await page.run(dots)
            for threshold in ("0.21", "0.74"):
                await page.run(
                    "{ const range = document.querySelector('input[type=range]');"
                    f"range.value = {json.dumps(threshold)}; range.dispatchEvent(new Event('input')) }}"
                )
                await page.until(f"location.search.includes('threshold={threshold}')")
                assert (await shown(page))[:2] == expected(float(threshold))
                recall = float(str(await page.run("document.querySelector('.tiles dd').textContent")))
                assert format_share(recall) == expected(float(threshold))[1]
                assert await page.run("document.querySelector('input[name=threshold]').value") == threshold
            assert await page.run(dots) != before
            assert page.errors == []
            assert page.loads == 1

    asyncio.run(use())


def test_without_scripts_a_form_moves_the_threshold(site: Site) -> None:
    async def use() -> None:
        async with served(site) as client, open_browser() as browser:
            page = await browser.open(str(client.make_url(f"/data/slices?run={RUN}")), scripts=False)
            slider = "getComputedStyle(document.querySelector('.slider')).display"
            assert await page.run(slider) == "none"
            await page.run("document.querySelector('input[name=threshold]').value = '0.3'")
            await page.click("form[action='/data/slices'] button")
            assert (await shown(page))[:2] == expected(0.3)

    asyncio.run(use())


@pytest.mark.parametrize(("width", "dark"), [pytest.param(LAPTOP, False, marks=pytest.mark.slow), (PHONE, True)])
def test_pages_are_accessible_and_hold_what_is_hostile(site: Site, width: int, dark: bool) -> None:
    features = f"/data/features?first=run/{RUN}/train"

    async def look() -> None:
        async with served(site) as client, open_browser() as browser:
            for path in ("/data", features, f"{features}&second=run/{RUN}/eval&log=1", f"/data/slices?run={RUN}"):
                page = await browser.open(str(client.make_url("/")).rstrip("/") + path, width=width, dark=dark)
                assert (path, await page.violations(), page.errors) == (path, [], [])
                assert (path, await page.overflows()) == (path, False)
                where = "[...document.querySelectorAll('.told')]"
                assert not await page.run(f"{where}.some(one => one.scrollWidth > one.clientWidth)")
                assert not await page.run(f"{where}.some(one => one.textContent.length > 120)")
                first = await page.run("document.querySelector('main .tiles dd')?.getBoundingClientRect().top ?? 0")
                assert first < 300  # the number that matters comes first

    asyncio.run(look())
