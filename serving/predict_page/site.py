"""The page as a site of its own: its frame, its policy, whom it answers, errors as pages."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from markupsafe import Markup

import slipway.pages
from serving.predict_page.app import Catalogue, PredictPage
from serving.protocol.sites import Handler, protect, refuse_strangers, tell_error
from slipway.pages.page import load_template, notice
from slipway.pages.printable import printable

HEALTH = "/healthz"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_PAGE_CSS = Path(slipway.pages.__file__).parent / "page.css"


def make_site(catalogue: Catalogue, hosts: tuple[str, ...] = ()) -> web.Application:
    """The application; it answers as an address, as localhost and as `hosts`."""
    app = web.Application(middlewares=[_errors, refuse_strangers("page", lambda _: hosts)])
    app.on_response_prepare.append(_protect)
    app.add_routes([web.get("/page.css", _page_css), web.get(HEALTH, _health)])
    page = PredictPage(catalogue, _respond)
    app.add_routes(page.routes())
    app.on_cleanup.append(page.close)
    return app


def _respond(
    request: web.Request, title: str, body: Markup, *, subtitle: str | Markup = "", status: int = 200
) -> web.Response:
    page = load_template("serving.predict_page", "frame.html.j2").render(
        title=printable(title), body=body, subtitle=subtitle
    )
    return web.Response(text=page, content_type="text/html", status=status)


async def _page_css(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(_PAGE_CSS)


async def _health(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n")


async def _protect(_request: web.Request, response: web.StreamResponse) -> None:
    protect(response, POLICY)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pages in place of errors."""
    try:
        return await handler(request)
    except Exception as error:
        status, said, headers = tell_error(request, error, "page")
    response = _respond(request, status.phrase, notice(printable(said), "bad"), status=status)
    response.headers.update(headers)
    return response
