"""The console as an aiohttp application: its rooms, what protects them, and pages for errors."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

import slipway.pages
from console import data, models, predict, runs
from console.forms import BODY_BYTES
from console.layout import respond
from console.site import DEADLINE, SITE, Site, site_of
from serving.protocol.sites import is_foreign, is_known_host, protect
from slipway.errors import SlipwayError
from slipway.pages.page import notice

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
READ_SECONDS = 60
STATIC = Path(__file__).parent / "static"
PAGE_CSS = Path(slipway.pages.__file__).parent / "page.css"
_log = logging.getLogger(__name__)


def make_app(site: Site) -> web.Application:
    """The application; each room brings its routes."""
    app = web.Application(middlewares=[_errors, _known_host, _own_origin], client_max_size=BODY_BYTES)
    app[SITE] = site
    app.on_response_prepare.append(_protect)
    app.on_startup.append(_look)
    app.add_routes([web.get("/", _start), web.get("/static/page.css", _page_css), web.static("/static", STATIC)])
    app.add_routes(runs.routes())
    app.add_routes(models.routes(site))
    app.add_routes(data.routes())
    predict.add_room(app, site)
    return app


async def _look(app: web.Application) -> None:
    """Begins to look for the runs, so that the first page need not wait for them."""
    app[SITE].runs.look()


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
    """Pages in place of errors; what nobody foresaw gets a number, which the log names.

    A page that a store keeps waiting is given up; a form that changes something is not.
    """
    seconds = READ_SECONDS if request.method in ("GET", "HEAD") else None
    try:
        async with asyncio.timeout(seconds) as request[DEADLINE]:
            return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        status, said = HTTPStatus(error.status), error.text or ""
        if said == f"{error.status}: {error.reason}":
            said = status.description
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    except TimeoutError:
        status, headers = HTTPStatus.GATEWAY_TIMEOUT, {}
        said = "The state did not answer in time. Try again, or see whether it can be reached."
    except SlipwayError as error:
        status, said, headers = HTTPStatus.BAD_GATEWAY, str(error), {}
    except Exception:
        number = secrets.token_hex(4)
        _log.exception("error %s: %s %s", number, request.method, request.rel_url)
        status, headers = HTTPStatus.INTERNAL_SERVER_ERROR, {}
        said = f"This is a fault of the console. Its log names it as error {number}."
    response = respond(request, status.phrase, notice(said, "bad"), status=status)
    response.headers.update(headers)
    return response


@web.middleware
async def _known_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses foreign names: a page of another site may let its own name lead to this address."""
    if not is_known_host(request.host, site_of(request).hosts):
        raise web.HTTPForbidden(
            text=f"This console does not answer as {request.host!r}. Start it with --allow-host {request.host}."
        )
    return await handler(request)


@web.middleware
async def _own_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what a page of another site sends; a link from there may still lead here."""
    if is_foreign(request):
        raise web.HTTPForbidden(text="A page of another site sent this. Open the console itself, and send it there.")
    return await handler(request)
