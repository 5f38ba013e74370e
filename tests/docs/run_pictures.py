"""The pictures of runs in docs/console.md, taken of the runs in SLIPWAY_HOME: `python -m tests.docs.run_pictures`.

A pushed run is shown, and compared with another run of its module that has metrics. The run that goes on is a recorded
one.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from console.site import Site
from delivery.environment import open_environment
from settings.load import PROJECT
from slipway.runs.training_log import EPOCH_LINE
from tests.browser import LAPTOP, PHONE, Browser, open_browser
from tests.console.served import served
from tests.recorded_runs import write_run

DOCS = PROJECT / "docs"


async def picture(browser: Browser, site: Site, *wanted: tuple[str, str, int, int]) -> None:
    """Takes pictures of pages: name, path, width and height of each; the state is that of a user, and below ~."""
    user = {"HOME": str(site.environment.settings.home.parent)}
    with mock.patch.dict(os.environ, user):
        async with served(site) as client:
            await site.runs.look()
            for name, path, width, height in wanted:
                page = await browser.open(f"{client.make_url('/')}{path}", width=width)
                await page.screenshot(DOCS / f"console-{name}.png", height)


async def take() -> None:
    """All pictures."""
    async with open_browser() as browser:
        site = Site(open_environment())
        await site.runs.look()
        scored = sorted((one for one in site.runs.known.values() if one.figures), key=lambda one: -one.started)
        pairs = ((one, other) for one in scored if one.version for other in scored if other is not one)
        shown, other = next((one, other) for one, other in pairs if one.module == other.module)
        await picture(
            browser,
            Site(open_environment()),
            ("runs", "runs?sort=auc", LAPTOP, 560),
            ("runs-phone", "runs?sort=auc", PHONE, 700),
            ("run", f"runs/{shown.name}", LAPTOP, 1150),
            ("compare", f"runs/compare?run={shown.name}&run={other.name}", LAPTOP, 1150),
        )
        with TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"SLIPWAY_HOME": folder}):
            log = write_run(Path(folder), "taxi-1", "running", started=time.time() - 27) / "logs" / "train_model.log"
            lines = [EPOCH_LINE % (one, 20, 0.2 + 0.3 / one, 0.22 + 0.29 / one, " (best)", 1.2) for one in range(1, 10)]
            log.write_text("\n".join(f"INFO {line}" for line in lines))
            await picture(browser, Site(open_environment()), ("progress", "runs/taxi-1", LAPTOP, 760))


if __name__ == "__main__":
    asyncio.run(take())
