"""The pictures of models in docs/console.md: `python -m tests.docs.model_pictures` takes them anew."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from console.site import Site
from delivery.environment import open_environment
from pipelines.training import TRAINING
from settings.load import PROJECT
from slipway.evaluation.results import write_evaluation
from slipway.stores.model_store import open_store
from tests.browser import LAPTOP, PHONE, open_browser
from tests.console.models.shelf import described
from tests.console.served import served
from tests.model_files import write_model
from tests.recorded_runs import evaluation
from tests.watched_model import MODEL, Watched, draw, drifted

DOCS = PROJECT / "docs"
DAYS, DRIFT = 8, 5


def write_home(folder: Path) -> tuple[int, int]:
    """A model with some versions, one of them watched for some days; returns it and the newest."""
    watched, store = Watched(folder), open_store(str(folder / "models"))
    for number in (0, 2):
        store.push(write_model(folder / f"source-{number}", number), described(number, model=MODEL))
    serving = watched.push(given=described(31, model=MODEL))
    store.push(write_model(folder / "bad", 7), described(17, model=MODEL))
    for number in [one.number for one in store.versions(MODEL)]:
        store.promote(MODEL, number, why="better on evenings", says="ann")
    store.rollback(MODEL, why="p99 doubled", says="on call")
    judged = described(35, model=MODEL)
    judged.lineage.shows, judged.artifacts = TRAINING.shows, {"evaluation": str(folder / "artifacts" / "evaluation")}
    (folder / "artifacts" / "evaluation").mkdir(parents=True)
    write_evaluation(evaluation(), folder / "artifacts" / "evaluation")
    newest = store.push(write_model(folder / "newest", 9), judged).version.number
    for day in range(DAYS):
        requests, scores, labels = draw(day)
        rows = drifted(requests) if day >= DRIFT else requests
        watched.tell(watched.ask(serving, day, rows, scores), labels)
        watched.run(day)
    return serving, newest


async def take(newest: int) -> None:
    """Pictures of the pages as a laptop shows them, and of the first one as a phone does."""
    async with served(Site(open_environment(), allow_actions=True)) as client, open_browser() as browser:
        for name, path, width, height in (
            ("models", "/models", LAPTOP, 420),
            ("models-phone", "/models", PHONE, 560),
            ("model", f"/models/{MODEL}", LAPTOP, 1750),
            ("version", f"/models/{MODEL}/{newest}", LAPTOP, 1500),
        ):
            page = await browser.open(str(client.make_url(path)), width=width)
            await page.screenshot(DOCS / f"console-{name}.png", height)
        page = await browser.open(str(client.make_url(f"/models/{MODEL}/{newest}/promote")))
        await page.run("document.querySelector('[name=why]').value = 'better on evenings, and the drift is learned'")
        await page.click("form.action button")
        await page.screenshot(DOCS / "console-promote.png", 520)


def main() -> None:
    """Takes all pictures."""
    with TemporaryDirectory() as user:
        home = Path(user) / ".slipway"
        home.mkdir()
        with mock.patch.dict(os.environ, {"HOME": user, "SLIPWAY_HOME": str(home)}):
            _, newest = write_home(home)
            asyncio.run(take(newest))


if __name__ == "__main__":
    main()
