"""The page as a site of its own: its frame, its policy, whom it answers, errors as pages."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import signal
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from pathlib import Path

import yarl
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

import slipway.pages
from serving.predict_page.app import Catalogue, PredictPage
from serving.protocol.addresses import address_of, listen
from slipway.errors import SlipwayError
from slipway.pages.page import notice
from slipway.pages.printable import printable

HEALTH = "/healthz"
IDLE_SECONDS = 15
GRACE_SECONDS = 10
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "slipway",
}
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


def serve(catalogue: Catalogue, host: str, port: int, hosts: tuple[str, ...], tell: Callable[[str], None]) -> None:
    """Serves on an address, which `tell` gets once it is bound, until SIGINT or SIGTERM."""
    asyncio.run(_serve(make_site(catalogue, hosts), host, port, tell))


async def _serve(app: web.Application, host: str, port: int, tell: Callable[[str], None]) -> None:
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=IDLE_SECONDS, lingering_time=1, shutdown_timeout=GRACE_SECONDS,
        handle_signals=False,
    )  # fmt: skip
    await runner.setup()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        await web.SockSite(runner, listen(host, port, "HTTP", "--port")).start()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        tell(f"http://{address_of(*runner.addresses[0][:2])}/")
        await stop.wait()
    finally:
        await runner.cleanup()


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


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


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
    if not _is_known(request.host, request.app[HOSTS]):
        raise web.HTTPForbidden(
            text=f"This page does not answer as {request.host!r}. Start it with --allow-host {request.host}."
        )
    return await handler(request)


def _is_known(host: str, hosts: tuple[str, ...]) -> bool:
    try:
        name = yarl.URL.build(scheme="http", authority=host).host or ""
    except ValueError:
        return False
    if name == "localhost" or name.lower() in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@web.middleware
async def _own_origin(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuses what a page of another site sends; a link from there may still lead here."""
    if request.method not in ("GET", "HEAD"):
        origin = request.headers.get("Origin")
        foreign = origin is not None and yarl.URL(origin).authority != request.host
        if foreign or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise web.HTTPForbidden(text="A page of another site sent this. Open this page itself, and send it there.")
    return await handler(request)
