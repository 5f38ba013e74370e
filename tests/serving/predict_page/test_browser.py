"""The page in a real browser: each kind of form, without scripts, on a phone, light and dark, by a screen reader."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestServer

from serving.predict_page.models import OneModel
from serving.predict_page.site import make_site
from slipway.data.images import encode_png
from tests.browser import LAPTOP, PHONE, Browser, Page, open_browser
from tests.serving.predict_page.schema_models import shown

TRIP = {
    "fare": 12.5, "trip_miles": 3.0, "trip_start_hour": 20, "trip_start_month": 5, "payment_type": "Credit Card",
    "company": "Flash Cab",
}  # fmt: skip
LOAN = {"Gender": "Male", "ApplicantIncome": 5000, "LoanAmount": 120, "Credit_History": 1, "Property_Area": "Urban"}
SEVEN = {"image": np.tile([0, 255], 392).tolist()}
Look = Callable[[Browser, str], Awaitable[None]]
OTHERS: dict[str, Any] = {"payment_type": "Cash", "fare": 8.0, "Property_Area": "Rural", "LoanAmount": 90}
LOOKS = ((LAPTOP, False), (PHONE, True))


def visit(model: OneModel, look: Look) -> None:
    async def go() -> None:
        async with TestServer(make_site(model)) as server, open_browser() as browser:
            await look(browser, str(server.make_url(f"/{model.names()[0]}")))

    asyncio.run(go())


async def sound(page: Page, status: int = 200) -> None:
    """No serious violation, nothing refused by the policy, nothing wider than the window, one heading of level 1."""
    expected = [] if status == 200 else [error for error in page.errors if f"status of {status}" in error]
    assert (await page.violations(), page.errors, await page.overflows()) == ([], expected, False)
    assert await page.run("document.querySelectorAll('h1').length") == 1
    assert await page.run("document.scripts.length") == 0


async def asked(page: Page) -> tuple[str, list[str]]:
    """Sends the form; the title, which is the answer, and what moved it."""
    await page.click("form.predict button")
    moved = await page.run("[...document.querySelectorAll('.effects li b')].map(one => one.textContent)")
    return await page.run("document.querySelector('h1').textContent"), moved


@pytest.mark.parametrize(
    ("name", "classes", "row", "moves"),
    [
        ("taxi", ("false", "true"), TRIP, "payment_type"),
        pytest.param("loan", ("N", "Y"), LOAN, "LoanAmount", marks=pytest.mark.slow),
    ],
)
def test_form_is_filled_sent_and_answered(
    name: str, classes: tuple[str, str], row: dict[str, Any], moves: str, tmp_path: Path
) -> None:
    async def look(browser: Browser, url: str) -> None:
        for width, dark in (*LOOKS, (LAPTOP, True), (PHONE, False)):
            page = await browser.open(url, width=width, dark=dark)
            await sound(page)
            answer, moved = await asked(page)
            assert answer.endswith("%)")
            assert moves in moved
            await sound(page)
            # The number is on the first screen, before anything else of the page.
            assert await page.run("document.querySelector('h1').getBoundingClientRect().bottom < innerHeight / 3")
            assert await page.run("document.title") == answer

    with shown(name, classes, [row, OTHERS, OTHERS], tmp_path) as model:
        visit(model, look)


def test_form_works_without_scripts(tmp_path: Path) -> None:
    async def look(browser: Browser, url: str) -> None:
        page = await browser.open(url, scripts=False)
        before = page.loads
        point = (await page.call("DOM.getDocument"))["root"]["nodeId"]
        button = (await page.call("DOM.querySelector", nodeId=point, selector="form.predict button"))["nodeId"]
        await page.call("DOM.focus", nodeId=button)
        for kind in ("keyDown", "keyUp"):
            await page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                            windowsVirtualKeyCode=13)  # fmt: skip
        await page.loaded(before + 1)
        html = await page.call("DOM.getOuterHTML", nodeId=(await page.call("DOM.getDocument"))["root"]["nodeId"])
        assert "What moved it" in html["outerHTML"]

    with shown("loan", ("N", "Y"), [LOAN, OTHERS], tmp_path) as model:
        visit(model, look)


def test_wrong_values_are_said_at_their_fields_and_kept(tmp_path: Path) -> None:
    async def look(browser: Browser, url: str) -> None:
        for width, dark in LOOKS:
            page = await browser.open(url, width=width, dark=dark)
            await page.run("document.querySelector('form.predict').noValidate = true")
            await page.run("document.querySelector('[name=fare]').type = 'text'")
            await page.run("document.querySelector('[name=fare]').value = 'abc'")
            await page.click("form.predict button")
            await sound(page, 422)
            assert await page.run("document.querySelector('[name=fare]').value") == "abc"
            said = "document.getElementById(document.querySelector('[name=fare]').getAttribute('aria-describedby'))"
            assert "abc" in await page.run(f"{said}.textContent")
            assert await page.run("document.querySelector('[role=alert] a').hash.slice(1)") == await page.run(
                "document.querySelector('[name=fare]').id"
            )

    with shown("taxi", ("false", "true"), [TRIP, OTHERS], tmp_path) as model:
        visit(model, look)


def test_hostile_values_run_nothing(tmp_path: Path) -> None:
    text = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"

    async def look(browser: Browser, url: str) -> None:
        page = await browser.open(url)
        await page.run("document.querySelector('[name=payment_type]').value = 'slipway:other'")
        await page.run(f"document.querySelector('[name$=\":payment_type\"]').value = {json.dumps(text)}")
        await page.click("form.predict button")
        await sound(page)
        assert await page.run("document.title") != "run"
        assert await page.run("document.querySelector('[name$=\":payment_type\"]').value") == text

    with shown("taxi", ("false", "true"), [TRIP, OTHERS], tmp_path) as model:
        visit(model, look)


def test_an_image_is_chosen_and_answered(tmp_path: Path) -> None:
    (tmp_path / "own.png").write_bytes(encode_png(np.tile([255, 0], 392), (28, 28, 1), 0, 255))
    (tmp_path / "large.png").write_bytes(encode_png(np.zeros(900), (30, 30, 1), 0, 255))

    async def choose(page: Page, name: str) -> None:
        root = (await page.call("DOM.getDocument"))["root"]["nodeId"]
        node = (await page.call("DOM.querySelector", nodeId=root, selector="[type=file]"))["nodeId"]
        await page.call("DOM.setFileInputFiles", files=[str(tmp_path / name)], nodeId=node)

    async def look(browser: Browser, url: str) -> None:
        for width, dark in LOOKS:
            page = await browser.open(url, width=width, dark=dark)
            await sound(page)
            sample = await page.run("document.querySelector('.drop img').src")
            real, _ = await asked(page)  # nothing was chosen: the real row's picture
            assert await page.run("document.querySelector('.drop img').src") == sample
            await choose(page, "own.png")
            own, _ = await asked(page)
            await sound(page)
            assert await page.run("document.querySelector('.drop img').src") != sample
            assert own != real
            await choose(page, "large.png")
            await asked(page)
            assert "30 x 30" in await page.run("document.querySelector('[role=alert]').textContent")
            await sound(page, 422)

    with shown("digits", tuple("0123456789"), [SEVEN], tmp_path) as model:
        visit(model, look)


def test_pictures_are_dropped_anywhere_in_their_frame_without_a_script(tmp_path: Path) -> None:
    for number, size in enumerate((28, 28, 30)):
        (tmp_path / f"{number}.png").write_bytes(encode_png(np.zeros(size * size), (size, size, 1), 0, 255))

    async def drop(page: Page, *names: str) -> None:
        """Drops files near the lower right corner of the frame, where nothing is drawn."""
        script = "JSON.stringify(document.querySelector('.drop').getBoundingClientRect())"
        await page.run("document.querySelector('.drop').scrollIntoView()")
        frame = json.loads(await page.run(script))
        data = {"items": [], "files": [str(tmp_path / name) for name in names], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            await page.call(
                "Input.dispatchDragEvent", type=kind, x=frame["right"] - 9, y=frame["bottom"] - 9, data=data
            )

    async def look(browser: Browser, url: str) -> None:
        for width, dark in LOOKS:
            page = await browser.open(url, width=width, dark=dark)
            sample = await page.run("document.querySelector('.drop img').src")
            await drop(page, "0.png")
            assert await page.run("document.querySelector('[type=file]').files.length") == 1
            await asked(page)
            await sound(page)
            assert await page.run("document.querySelector('.drop img').src") != sample
            page = await browser.open(f"{url}/table", width=width, dark=dark)
            await sound(page)
            await drop(page, "0.png", "1.png", "2.png")
            assert await page.run("document.querySelector('[type=file]').files.length") == 3
            await page.click("form.predict button")
            await sound(page)
            assert await page.run("document.querySelector('h1').textContent") == "2 answers"
            assert "30 x 30" in await page.run("document.querySelector('.notice').textContent")

    with shown("digits", tuple("0123456789"), [SEVEN], tmp_path) as model:
        visit(model, look)


def test_a_table_is_answered_and_kept(tmp_path: Path) -> None:
    async def look(browser: Browser, url: str) -> None:
        for width, dark in LOOKS:
            page = await browser.open(f"{url}/table", width=width, dark=dark)
            await sound(page)
            await page.run("document.querySelector('textarea').value += 'x,y\\n'")
            await page.click("form.predict button")
            await sound(page)
            assert await page.run("document.querySelector('h1').textContent") == "2 answers"
            assert "line 4" in await page.run("document.querySelector('.notice').textContent")
            assert await page.run("document.querySelector('.answered').textContent") in ("N", "Y")
        folder = tmp_path / "downloads"
        await browser.call(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=True
        )
        await page.run("document.querySelector('button.plain').click()")
        async with asyncio.timeout(60):
            while not list(folder.glob("*.csv")):
                await asyncio.sleep(0.05)
        [file] = folder.glob("*.csv")
        rows = list(csv.DictReader(file.read_text().splitlines()))
        assert [(row["class"] in ("N", "Y"), bool(row["problem"])) for row in rows] == [
            (True, False),
            (True, False),
            (False, True),
        ]

    with shown("loan", ("N", "Y"), [LOAN, OTHERS], tmp_path) as model:
        visit(model, look)


def test_an_unreachable_server_is_said_and_the_values_stay(tmp_path: Path) -> None:
    async def look(browser: Browser, url: str) -> None:
        page = await browser.open(url, width=PHONE)
        await page.click("form.predict button")
        await sound(page, 502)
        assert await page.run("document.querySelector('[role=alert]').textContent.length > 20")
        assert await page.run("document.querySelector('[name=LoanAmount]').value") == "120"

    with shown("loan", ("N", "Y"), [LOAN, OTHERS], tmp_path) as model:
        form = model.open("loan").form
    from serving.predict_page.asking import ServedModel

    visit(OneModel(ServedModel("127.0.0.1:9", "loan", 1.0), form), look)
