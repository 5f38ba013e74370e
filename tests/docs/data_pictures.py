"""The pictures of the room of data in docs/console.md: `python -m tests.docs.data_pictures`.

They show the state in SLIPWAY_HOME: a run's training rows beside the requests of a window, where there is one, and the
slices of the taxi module's newest two versions.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from console.data.sets import newest_windows
from console.site import Site
from delivery.environment import open_environment
from tests.browser import LAPTOP, open_browser
from tests.docs.run_pictures import picture


async def take() -> None:
    """Both pictures."""
    site = Site(open_environment())
    await site.runs.look()
    runs = sorted(site.runs.known.values(), key=lambda run: -run.started)
    pushed = [run.name for run in runs if run.version and run.module == "taxi"]
    beside = [f"window/{model}/{start}" for model, start in newest_windows(site.environment.state.monitoring)]
    described = next(run for run in reversed(runs) if run.rows).name
    beside.append(f"run/{described}/eval")
    features = {"first": f"run/{described}/train", "second": beside[0], "sort": "difference"}
    async with open_browser() as browser:
        wanted = [("data", f"data/features?{urlencode(features)}", LAPTOP, 1500)]
        if len(pushed) > 1:
            slices = {"run": pushed[:2], "by": "trip_start_hour", "metric": "precision", "threshold": "0.3"}
            wanted.append(("slices", f"data/slices?{urlencode(slices, doseq=True)}", LAPTOP, 1500))
        await picture(browser, site, *wanted)


if __name__ == "__main__":
    asyncio.run(take())
