"""Draws docs/predict-*.png of the models in this machine's store: `python -m tests.serving.predict_page.pictures`.

They need a run of taxi and one of digits: `make run DATA=trips.csv && make run MODULE=digits`.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from aiohttp.test_utils import TestServer

from delivery.environment import open_environment
from serving.predict_page.models import StoredModels
from serving.predict_page.site import make_site
from tests.browser import LAPTOP, PHONE, open_browser

DOCS = Path(__file__).parents[3] / "docs"


async def draw(models: StoredModels) -> None:
    async with TestServer(make_site(models)) as server, open_browser() as browser:
        for name, width, height in (("taxi", LAPTOP, 1130), ("taxi", PHONE, 844), ("digits", LAPTOP, 1010)):
            page = await browser.open(str(server.make_url(f"/{name}")), width=width)
            await page.click("form.predict button")
            await page.screenshot(DOCS / f"predict-{name}{'-phone' if width == PHONE else ''}.png", height)
        page = await browser.open(str(server.make_url("/taxi")))
        await page.screenshot(DOCS / "predict-form.png", 760)
        page = await browser.open(str(server.make_url("/taxi/table")))
        await page.click("form.predict button")
        await page.screenshot(DOCS / "predict-table.png", 620)


def main() -> None:
    environment = open_environment()
    settings = environment.settings
    with closing(StoredModels(environment.store, settings.modules, settings.home / "serving")) as models:
        asyncio.run(draw(models))


if __name__ == "__main__":
    main()
