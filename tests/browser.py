"""Headless Chromium, where there is one: pages opened, looked at, used, and checked with axe-core."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    *(str(path) for path in Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome")),
)
SECONDS = 60  # on a machine that has much else to do
PHONE, LAPTOP = 390, 1280
AXE = Path(__file__).parent / "compiled" / "node_modules" / "axe-core" / "axe.min.js"


def browser_command(profile: str, url: str, *options: str) -> list[str]:
    """The command that opens a page; skips the test where there is no browser."""
    program = next(filter(None, map(shutil.which, (*NAMES, *PLACES))), None)
    if program is None:
        pytest.skip(f"no Chromium here: none of {', '.join(NAMES)} is on the PATH, and none lies in the usual places")
    always = ["--headless", "--disable-gpu", "--no-first-run", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    return [program, *always, *options, f"--user-data-dir={profile}", url]


@dataclass
class Page:
    """A tab. `errors` are what the browser's console says: scripts that fail, what the policy refused."""

    browser: Browser
    session: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    loads: int = 0

    async def go(self, url: str) -> None:
        """Opens an address and waits until it is loaded."""
        before = self.loads
        await self.call("Page.navigate", url=url)
        await self.loaded(before + 1)

    async def loaded(self, times: int) -> None:
        """Waits until so many pages were loaded in this tab."""
        async with asyncio.timeout(SECONDS):
            while self.loads < times:
                await asyncio.sleep(0.02)

    async def click(self, selector: str) -> None:
        """Clicks on an element and waits for the page that it leads to."""
        before = self.loads
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")
        await self.loaded(before + 1)

    async def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        done = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def until(self, condition: str) -> None:
        """Waits until an expression in the page is true."""
        async with asyncio.timeout(SECONDS):
            while not await self.run(condition):
                await asyncio.sleep(0.05)

    async def press(self, selector: str) -> None:
        """Clicks with the mouse, as a person without scripts does, and waits for the page that it leads to."""
        before = self.loads
        await self.tick(selector)
        await self.loaded(before + 1)

    async def tick(self, selector: str) -> None:
        """Clicks with the mouse on an element."""
        node = await self._node(selector)
        await self.call("DOM.scrollIntoViewIfNeeded", nodeId=node)
        x1, y1, _, _, x2, y2, *_ = (await self.call("DOM.getBoxModel", nodeId=node))["model"]["content"]
        place = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, **place)

    async def fill(self, selector: str, text: str) -> None:
        """Types text into a field."""
        await self.call("DOM.focus", nodeId=await self._node(selector))
        await self.call("Input.insertText", text=text)

    async def key(self, name: str) -> None:
        """Presses a key by its name, as Tab or Enter."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}[name]
        text = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **text)

    async def address(self) -> str:
        """Where the tab is."""
        history = await self.call("Page.getNavigationHistory")
        return str(history["entries"][history["currentIndex"]]["url"])

    async def text(self) -> str:
        """What the page says, its tags left out."""
        html = (await self.call("DOM.getOuterHTML", nodeId=await self._node("body")))["outerHTML"]
        return unescape(re.sub("<[^>]*>", " ", html))

    async def sees(self, text: str) -> None:
        """Waits until the page says a text."""
        async with asyncio.timeout(SECONDS):
            while True:
                with suppress(RuntimeError):  # another page took its place
                    if text in await self.text():
                        return
                await asyncio.sleep(0.2)

    async def _node(self, selector: str) -> int:
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        return int((await self.call("DOM.querySelector", nodeId=root, selector=selector))["nodeId"])

    async def screenshot(self, path: Path, height: int | None = None) -> None:
        """A picture of the whole page, or of its upper part."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def violations(self) -> list[str]:
        """What axe-core finds that is serious or critical."""
        if not AXE.is_file():
            pytest.skip("axe-core is not here: `npm ci --prefix tests/compiled` installs it")
        await self.run(AXE.read_text(encoding="utf-8") + ";0")
        found = json.loads(await self.run("axe.run().then(found => JSON.stringify(found.violations))"))
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]}: {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    async def overflows(self) -> bool:
        """Whether the page is wider than its window."""
        return bool(await self.run("document.documentElement.scrollWidth > innerWidth"))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the DevTools protocol in this tab."""
        return await self.browser.call(method, session=self.session, **parameters)

    def hear(self, method: str, told: dict[str, Any]) -> None:
        """Keeps what the browser tells of this tab."""
        if method == "Page.loadEventFired":
            self.loads += 1
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")


@dataclass
class Browser:
    """A browser that is told what to do by the DevTools protocol."""

    socket: aiohttp.ClientWebSocketResponse
    pages: dict[str, Page] = field(default_factory=dict)
    waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    @cached_property
    def _numbers(self) -> itertools.count[int]:
        return itertools.count(1)

    async def open(self, url: str, *, width: int = LAPTOP, dark: bool = False, scripts: bool = True) -> Page:
        """A new tab with a page, loaded."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self.pages[session] = Page(self, session)
        size = {"width": width, "height": 844 if width == PHONE else 900}
        await page.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=width == PHONE)
        colours = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await page.call("Emulation.setEmulatedMedia", features=[colours])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        await page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        await page.go(url)
        return page

    async def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """One call of the DevTools protocol."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.waiting[number] = answer
        asked = {"id": number, "method": method, "params": parameters}
        await self.socket.send_json(asked | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(SECONDS):
            return await answer

    async def listen(self) -> None:
        """Takes what the browser says, until it is closed."""
        async for message in self.socket:
            said = json.loads(message.data)
            if "method" in said:
                if page := self.pages.get(said.get("sessionId", "")):
                    page.hear(said["method"], said["params"])
            elif "error" in said:
                self.waiting.pop(said["id"]).set_exception(RuntimeError(said["error"]["message"]))
            else:
                self.waiting.pop(said["id"]).set_result(said["result"])


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """A browser of its own, with a new profile."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = browser_command(profile, "about:blank", "--remote-debugging-port=0", "--hide-scrollbars")
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            told = Path(profile, "DevToolsActivePort")
            async with asyncio.timeout(SECONDS):
                while not (told.is_file() and len(lines := told.read_text().splitlines()) == 2):
                    await asyncio.sleep(0.05)
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_msg_size=0) as socket,
            ):
                browser = Browser(socket)
                hearing = asyncio.create_task(browser.listen())
                yield browser
                hearing.cancel()
        finally:
            process.terminate()
            await process.wait()
