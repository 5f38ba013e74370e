"""The pictures of the room of data in docs/console.md, of the state in SLIPWAY_HOME.

`python -m tests.console.data.pictures NAME PATH`: NAME is `data` or `slices`, PATH an address of the console, such as
`/data/slices?run=…`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from console.site import Site
from delivery.environment import open_environment
from settings.load import PROJECT
from tests.browser import open_browser
from tests.console.served import served

HEIGHT = 1500


async def take(name: str, path: str) -> Path:
    """Writes docs/console-NAME.png, and answers its path."""
    picture = PROJECT / "docs" / f"console-{name}.png"
    async with served(Site(open_environment())) as client, open_browser() as browser:
        page = await browser.open(str(client.make_url("/")).rstrip("/") + path)
        await page.screenshot(picture, height=HEIGHT)
    return picture


if __name__ == "__main__":
    print(asyncio.run(take(*sys.argv[1:])))
