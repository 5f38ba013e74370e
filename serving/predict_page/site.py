"""The page as a site of its own: its frame, its policy, whom it answers, errors as pages."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

import slipway.pages
from serving.predict_page.app import Catalogue, PredictPage
from serving.protocol.sites import is_foreign, is_known_host, protect
from slipway.errors import SlipwayError
from slipway.pages.page import notice
from slipway.pages.printable import printable

HEALTH = "/healthz"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HOSTS = web.AppKey("hosts", tuple[str, ...])
_PAGE_CSS = Path(slipway.pages.__file__).parent / "page.css"
_log = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_site(catalogue: Catalogue, hosts: tuple[str, ...] = ()) -> web.Application:
    """The application; it answers as an address, as localhost and as `hosts`."""
    app = web.Application(middlewares=[_errors, _known_host, _own_origin])
    app[HOSTS] = hosts
    app.on_response_prepare.append(_protect)
    app.add_routes([web.get("/page.css", _page_css), web.get(HEALTH, _health)])
    page = PredictPage(catalogue, _respond)
    app.add_routes(page.routes())
    app.on_cleanup.append(page.close)
    return app


def _respond(
    request: web.Request, title: str, body: Markup, *, subtitle: str | Markup = "", status: int = 200
) -> web.Response:
    page = _frame().render(title=printable(title), body=body, subtitle=subtitle)
    return web.Response(text=page, content_type="text/html", status=status)


@cache
def _frame() -> Template:
    environment = Environment(
        loader=PackageLoader("serving.predict_page", ""), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("frame.html.j2")


async def _page_css(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(_PAGE_CSS)


async def _health(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n")


async def _protect(_request: web.Request, response: web.StreamResponse) -> None:
    protect(response, POLICY)


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Pages in place of errors; what nobody foresaw gets a number, which the log names."""
    headers = {}
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        status, said = HTTPStatus(error.status), error.text or ""
        if said == f"{error.status}: {error.reason}":
            said = status.description
        headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    except SlipwayError as error:
        status, said = HTTPStatus.BAD_GATEWAY, str(error)
    except Exception:
        number = secrets.token_hex(4)
        _log.exception("error %s: %s %s", number, request.method, request.path)
        status, said = (
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f"This is a fault of the page. Its log names it as error {number}.",
        )
    response = _respond(request, status.phrase, notice(printable(said), "bad"), status=status)
    response.headers.update(headers)
    return response


@web.middleware
async def _known_host(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuses foreign names: a page of another site may let its own name lead to this address."""
    if not is_known_host(request.host, request.app[HOSTS]):
        raise web.HTTPForbidden(
            text=f"This page does not answer as {request.host!r}. Start it with --allow-host {request.host}."
        )
    return await handler(request)


@web.middleware
async def _own_origin(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuses what a page of another site sends."""
    if is_foreign(request):
        raise web.HTTPForbidden(text="A page of another site sent this. Open this page itself, and send it there.")
    return await handler(request)
