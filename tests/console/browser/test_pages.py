"""The room of runs in a real browser: on a phone, light and dark, without scripts, by keyboard and screen reader."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from console.site import Site
from slipway.runs.record import StepsFile
from slipway.runs.store import STEPS
from slipway.runs.training_log import EPOCH_LINE
from slipway.stores import storage
from tests.browser import LAPTOP, PHONE, open_browser
from tests.console.served import served
from tests.recorded_runs import NO_PROCESS, Ending, write_run

HOSTILE = "<img src=x onerror=alert(1)>".replace("/", "")
PAGES = (
    "/runs",
    "/runs?q=nothing+like+this",
    "/runs/taxi-1",
    "/runs/taxi-4",
    "/runs/compare?run=taxi-1&run=taxi-2&run=taxi-3",
    "/runs/taxi-1/files",
    "/runs/taxi-1/files/examples/rows.parquet",
    "/runs/taxi-1/files/record/summary.json",
    "/runs/nix",
)


@pytest.fixture
def runs(home: Path) -> Path:
    """Runs of each kind, one of them still going on."""
    endings: tuple[Ending, ...] = ("pushed", "refused", "bad-data", "running")
    for number, ending in enumerate(endings, start=1):
        write_run(home, f"taxi-{number}", ending)
    write_run(home, HOSTILE, "failed")
    train(home, 3)
    examples = home / "runs" / "taxi-1" / "artifacts" / "examples"
    pq.write_table(pa.table({"fare": [7.5, None], "payment_type": ["Cash", HOSTILE]}), examples / "rows.parquet")
    return home / "runs"


def train(home: Path, epochs: int) -> None:
    """So many epochs of the run that goes on."""
    lines = [EPOCH_LINE % (one, 20, 0.5 / one, 0.6 / one, " (best)", 1.25) for one in range(1, epochs + 1)]
    (home / "runs" / "taxi-4" / "logs" / "train_model.log").write_text("\n".join(lines))


def test_each_page_is_accessible_and_keeps_the_policy(site: Site, runs: Path) -> None:
    async def look() -> None:
        async with served(site) as client, open_browser() as browser:
            for width, dark in ((LAPTOP, False), (PHONE, True)):
                for path in PAGES:
                    page = await browser.open(str(client.make_url(path)), width=width, dark=dark)
                    assert await page.violations() == [], (path, width)
                    assert [one for one in page.errors if "404" not in one or "nix" not in one] == [], (path, width)
                    assert not await page.overflows(), (path, width)
                    own = str(client.make_url("/"))
                    assert [url for url in page.requests if not url.startswith((own, "data:"))] == []

    asyncio.run(look())


def test_the_number_stands_first_on_a_phone(site: Site, runs: Path) -> None:
    async def look() -> None:
        async with served(site) as client, open_browser() as browser:
            page = await browser.open(str(client.make_url("/runs?outcome=pushed")), width=PHONE)
            assert await page.run("document.querySelector('.runs tbody tr').innerText.trim().startsWith('0.956')")
            box = "document.querySelector('.runs tbody .figure').getBoundingClientRect()"
            assert await page.run(f"{box}.left < 40 && {box}.right < innerWidth")
            page = await browser.open(str(client.make_url("/runs/taxi-1")), width=PHONE)
            assert await page.run("document.querySelector('.tiles dd').getBoundingClientRect().bottom < innerHeight")

    asyncio.run(look())


def test_two_runs_stand_beside_each_other_on_a_phone(site: Site, runs: Path) -> None:
    async def look() -> None:
        async with served(site) as client, open_browser() as browser:
            path = "/runs/compare?run=taxi-1&run=taxi-2"
            page = await browser.open(str(client.make_url(path)), width=PHONE)
            cells = "[...document.querySelectorAll('.compared :is(th, td):last-child')]"
            assert await page.run(f"{cells}.length") > 20
            assert await page.run(f"{cells}.every(one => one.getBoundingClientRect().right <= innerWidth)")
            page = await browser.open(str(client.make_url("/runs")), width=PHONE)
            place = "getComputedStyle(document.querySelector('form[action=\"/runs/compare\"] > button')).position"
            assert await page.run(place) == "static"
            await page.tick("input[value=taxi-1]")
            assert await page.run(place) == "sticky"

    asyncio.run(look())


def test_a_search_and_a_comparison_work_without_scripts(site: Site, runs: Path) -> None:
    """The browser itself sends the forms; the clicks are the protocol's, since scripts of the page are off."""

    async def use() -> None:
        async with served(site) as client, open_browser() as browser:
            page = await browser.open(str(client.make_url("/runs")), scripts=False)
            await page.fill("input[name=q]", "verdict != none")
            await page.press(".filter button")
            assert "q=verdict" in await page.address()
            for run in ("taxi-1", "taxi-2"):
                await page.tick(f"input[value={run}]")
            await page.press("form[action='/runs/compare'] button")
            assert (await page.address()).endswith(
                "/runs/compare?run=taxi-1&run=taxi-2"
            ) or "run=taxi-2&run=taxi-1" in await page.address()
            assert "runs compared" in await page.text()

    asyncio.run(use())


@pytest.mark.parametrize("scripts", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_progress_moves_by_itself(home: Path, site: Site, runs: Path, scripts: bool) -> None:
    async def watch() -> None:
        async with served(site) as client, open_browser() as browser:
            page = await browser.open(str(client.make_url("/runs/taxi-4")), scripts=scripts)
            assert "3 of 20" in await page.text()
            train(home, 9)
            await page.sees("9 of 20")
            file = StepsFile.model_validate_json((runs / "taxi-4" / STEPS).read_text())
            ended = file.model_copy(update={"pid": NO_PROCESS}).model_dump_json()
            storage.write_text(str(runs / "taxi-4" / STEPS), ended)
            await page.sees("interrupted")
            assert page.errors == []

    asyncio.run(watch())


def test_a_page_of_a_step_runs_its_scripts_and_reaches_nothing(site: Site, runs: Path) -> None:
    (runs / "taxi-1" / "artifacts" / "examples" / "page.html").write_text(
        "<p id=said>nothing</p><script>said.textContent = 'script ran';"
        "try { parent.document.title = 'taken' } catch {}"
        "try { localStorage.x = 1; said.textContent += ', storage' } catch { said.textContent += ', no storage' }"
        "fetch('/runs').catch(() => said.textContent += ', no network')</script>"
    )

    async def look() -> None:
        async with served(site) as client, open_browser() as browser:
            page = await browser.open(str(client.make_url("/runs/taxi-1/files/examples/page.html?as=page")))
            await page.sees("script ran, no storage, no network")
            around = await browser.open(str(client.make_url("/runs/taxi-1/files/examples/page.html")))
            assert "page.html" in await around.run("document.title")
            assert await around.run("document.querySelector('iframe').contentDocument") is None

    asyncio.run(look())


def test_a_foreign_page_neither_frames_nor_reads_the_console(site: Site, runs: Path, tmp_path: Path) -> None:
    async def attack() -> None:
        async with served(site) as client, open_browser() as browser:
            own = str(client.make_url("/runs"))
            foreign = tmp_path / "foreign.html"
            foreign.write_text(
                f"<title>waiting</title><iframe src='{own}'></iframe><script>"
                f"fetch('{own}').then(a => document.title = 'read', () => document.title = 'refused')</script>"
            )
            page = await browser.open(foreign.as_uri())
            await page.until("document.title !== 'waiting'")
            assert await page.run("document.title") == "refused"
            assert any("frame-ancestors" in one or "blocked" in one or "CORS" in one for one in page.errors)

    asyncio.run(attack())


def test_the_keyboard_reaches_the_content_first(site: Site, runs: Path) -> None:
    async def use() -> None:
        async with served(site) as client, open_browser() as browser:
            page = await browser.open(str(client.make_url("/runs")))
            await page.key("Tab")
            assert await page.run("document.activeElement.className") == "skip"
            await page.key("Enter")
            assert await page.run("document.activeElement.id") == "content"
            await page.key("Tab")
            assert await page.run("document.activeElement.name") == "q"

    asyncio.run(use())
