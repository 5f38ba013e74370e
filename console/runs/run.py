"""One run: its report, its files, and how far it is while it goes on."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from aiohttp import web
from markupsafe import Markup

from console.layout import respond
from console.records import view_own
from console.runs.progress import progress
from console.site import site_of
from slipway.data.examples.dataset import QUARANTINE
from slipway.pages.page import code
from slipway.pages.printable import printable
from slipway.runs.record import Step
from slipway.runs.report import Links, report_body, report_subtitle
from slipway.runs.store import RunView

REFRESH_SECONDS = 5  # without scripts; console/static/live.js asks more often


class ConsoleLinks(Links):
    """A report's links inside the console."""

    def __init__(self, view: RunView) -> None:
        self._files = files_address(view.name)
        self._examples = quote(view.summary.lineage.shows.examples, safe="")

    def log(self, step: Step) -> str:
        """A step's log, as a page."""
        return f"{self._files}/record/logs/{quote(step.name, safe='')}.log"

    def quarantine(self, examples: str) -> str:
        """The rows that could not be read, as a page."""
        return f"{self._files}/{self._examples}/{QUARANTINE}"

    def artifact(self, name: str, uri: str) -> Markup:
        """A link to the artifact's files."""
        return Markup('<a href="{}">{}</a>').format(f"{self._files}/{quote(name, safe='')}", code(uri))

    def page(self, name: str, path: str) -> Markup:
        """The step's own page in a frame, which has an address and a policy of its own."""
        frame = Markup('<iframe sandbox="allow-scripts" loading="lazy" title="{}" src="{}?as=page"></iframe>')
        return frame.format(name, f"{self._files}/{quote(name, safe='')}")


async def show(request: web.Request) -> web.Response:
    """The report of a run; one that goes on is loaded again."""
    view = await find_run(request)
    files = files_address(view.name)
    head = Markup('<p class="links"><a href="{}">Files and logs</a> {}<a href="{}">All runs of {}</a></p>').format(
        files,
        _data_links(view),
        f"/runs?module={quote(view.summary.lineage.module)}",
        view.summary.lineage.module or "no module",
    )
    body = await asyncio.to_thread(report_body, view, ConsoleLinks(view))
    if view.state != "running":
        return respond(request, view.name, head + body, subtitle=report_subtitle(view))
    live = Markup('<div data-live="{}">{}</div>').format(
        f"/runs/{quote(view.name, safe='')}/live", await asyncio.to_thread(progress, view)
    )
    return respond(
        request, view.name, live + head + body, subtitle=report_subtitle(view),
        scripts=["live.js"], refresh_seconds=REFRESH_SECONDS,
    )  # fmt: skip


def _data_links(view: RunView) -> Markup:
    """Links to the room of data, to what the run came to."""
    run, shows, artifacts = quote(view.name, safe=""), view.summary.lineage.shows, view.summary.artifacts
    links = Markup("")
    if shows.statistics in artifacts:
        address = f"/data/features?first=run/{run}/train&second=run/{run}/eval"
        links += Markup('<a href="{}">Features</a> ').format(address)
    if shows.evaluation in artifacts:
        links += Markup('<a href="{}">Slices</a> ').format(f"/data/slices?run={run}")
    return links


async def show_progress(request: web.Request) -> web.Response:
    """How far a run is, for a page to put into itself; 204 when it has ended."""
    view = await find_run(request)
    if view.state != "running":
        return web.Response(status=204)
    return web.Response(text=await asyncio.to_thread(progress, view), content_type="text/html")


async def find_run(request: web.Request) -> RunView:
    """The run that an address names; a page says so if there is none."""
    return await find_named(request, request.match_info["run"])


async def find_named(request: web.Request, name: str) -> RunView:
    """The run of a name, with what may be shown of it."""
    site = site_of(request)
    if await site.runs.find(name) is None:
        raise web.HTTPNotFound(text=f"There is no run {printable(name)[:200]}.")
    return await asyncio.to_thread(view_own, site.environment.state, name)


def files_address(run: str) -> str:
    """Where the files of a run are."""
    return f"/runs/{quote(run, safe='')}/files"
