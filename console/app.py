"""The console as an aiohttp application: its rooms, what protects them, and pages for errors."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

import slipway.pages
from console import data, models, predict, runs
from console.forms import BODY_BYTES
from console.layout import respond
from console.site import DEADLINE, SITE, Site, site_of
from serving.protocol.sites import Handler, protect, refuse_strangers, tell_error
from slipway.pages.page import notice

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
READ_SECONDS = 60
BEGIN_SECONDS = 3
STATIC = Path(__file__).parent / "static"
PAGE_CSS = Path(slipway.pages.__file__).parent / "page.css"


def make_app(site: Site) -> web.Application:
    """The application; each room brings its routes."""
    strangers = refuse_strangers("console", lambda request: site_of(request).hosts)
    app = web.Application(middlewares=[_errors, strangers], client_max_size=BODY_BYTES)
    app[SITE] = site
    app.on_response_prepare.append(_protect)
    app.on_startup.append(_begin)
    app.add_routes([web.get("/", _start), web.get("/static/page.css", _page_css), web.static("/static", STATIC)])
    app.add_routes(runs.routes())
    app.add_routes(models.routes(site))
    app.add_routes(data.routes())
    predict.add_room(app, site)
    return app


async def _begin(app: web.Application) -> None:
    """Looks for the runs before the first page is asked for; a look that takes longer goes on behind the pages."""
    site = app[SITE]
    site.under_way.look()
    await asyncio.wait([site.runs.look()], timeout=BEGIN_SECONDS)


async def _start(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPSeeOther("/runs")


async def _page_css(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE_CSS)


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    if request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-cache")  # asks whether it changed
    protect(response, POLICY)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pages in place of errors. A page that a store keeps waiting is given up; a form that changes something is not."""
    seconds = READ_SECONDS if request.method in ("GET", "HEAD") else None
    try:
        async with asyncio.timeout(seconds) as request[DEADLINE]:
            return await handler(request)
    except Exception as error:
        status, said, headers = tell_error(request, error, "console")
    response = respond(request, status.phrase, notice(said, "bad"), status=status)
    response.headers.update(headers)
    return response
