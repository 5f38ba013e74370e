"""Frames as those in which Kubeflow's UI shows HTML artifacts."""

from __future__ import annotations

import html
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.browser import SECONDS, browser_command
from tests.fakes.loopback_server import Answer, LoopbackServer, Request

# frontend/src/components/viewers/HTMLViewer.tsx of kubeflow/pipelines 2.17 sets `srcdoc` of such a frame, 600 px high.
_FRAME = '<iframe sandbox="allow-scripts" srcdoc="{}" style="width: 900px; height: 600px"></iframe>'
_CLICK = """<script>
const pause = () => fetch("/pause", {mode: "no-cors"})  // timers are slow in frames out of sight
addEventListener("load", async () => {
  const page = document.documentElement
  while (!innerHeight || !document.body.offsetHeight) await pause()  // a frame gets its size late
  const clicks = []
  for (const link of document.querySelectorAll("a")) {
    scrollTo(0, 0)
    link.click()
    await pause()
    if (link.target) continue  // a file beside the page opens elsewhere, or, in the UI, nowhere
    const {top} = document.getElementById(link.getAttribute("href").slice(1)).getBoundingClientRect()
    const left = page.scrollHeight - innerHeight - scrollY
    clicks.push({page: %s, link: link.textContent, top, scrolled: scrollY, left, address: location.href})
  }
  fetch("/clicks", {method: "POST", mode: "no-cors", body: JSON.stringify(clicks)})
})
</script>"""


class Click(NamedTuple):
    """What a click did: where its section begins in the frame, how far the page was and can still be scrolled."""

    page: str
    link: str
    top: float
    scrolled: float
    left: float
    address: str

    @property
    def shows_its_section(self) -> bool:
        return self.scrolled > 0 and (abs(self.top) < 2 or self.left < 2)


@dataclass
class _Ui(LoopbackServer):
    """A page with frames. A frame that asks for anything has left its own page."""

    page: str = ""

    def handle(self, request: Request) -> Answer:
        framed = request.headers.get("sec-fetch-dest") == "iframe"
        body = "the UI in a frame" if framed else self.page
        return Answer(200, body.encode(), "text/html", (("Connection", "close"),))

    @property
    def left(self) -> list[Request]:
        return [one for one in self.requests if one.headers.get("sec-fetch-dest") == "iframe"]


def framed(page: str) -> str:
    """A frame with the page, as the UI has it."""
    return _FRAME.format(html.escape(page))


def clicking(name: str, page: str) -> str:
    """The page, which clicks on each of its links once it is loaded, and tells the server."""
    return page + _CLICK % json.dumps(name)


def clicked(document: str, pages: int) -> list[Click]:
    """What so many clicking pages in the document tell; fails if a frame leaves its page."""
    with _Ui(page=document) as ui, _open(ui.url):
        waited = time.monotonic() + SECONDS
        while len(told := ui.asked("POST", "/clicks")) < pages and not ui.left and time.monotonic() < waited:
            time.sleep(0.05)
    assert (len(told), ui.left) == (pages, [])
    return [Click(**click) for request in told for click in json.loads(request.body)]


@contextmanager
def _open(url: str) -> Iterator[None]:
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = browser_command(profile, url)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                yield
            finally:
                browser.terminate()
