"""What sites of pages share: headers that protect them, whom they answer, forms, errors, and serving until a signal."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import signal
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import yarl
from aiohttp import web
from aiohttp.typedefs import Middleware
from aiohttp.web_request import FileField
from multidict import MultiMapping

from serving.protocol.addresses import address_of, listen
from slipway.errors import SlipwayError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Posted = MultiMapping[str | bytes | bytearray | FileField]

FORM_SECONDS = 30  # in which a posted form arrives
IDLE_SECONDS = 10  # without a whole request; also what a slow client has for its headers
GRACE_SECONDS = 5
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_log = logging.getLogger(__name__)


def protect(response: web.StreamResponse, policy: str) -> None:
    """Sets the headers that a response has not, with the policy of what its page may load and do."""
    for name, value in {"Content-Security-Policy": policy, **HEADERS}.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "slipway"  # and not with which versions


def is_known_host(host: str, hosts: tuple[str, ...]) -> bool:
    """Whether a Host header is an address, localhost, or one of the names; no foreign name leads to an address."""
    try:
        url = yarl.URL.build(scheme="http", authority=host)
    except ValueError:
        return False
    name = url.host or ""
    if url.user is not None:
        return False
    if name == "localhost" or name.lower() in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_foreign(request: web.Request) -> bool:
    """Whether a page of another site sent this; a link from there may lead here."""
    if request.method in ("GET", "HEAD"):
        return False
    origin = request.headers.get("Origin", f"{request.scheme}://{request.host}")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    return origin.partition("://")[2] != request.host or site not in ("same-origin", "none")


def refuse_strangers(what: str, hosts_of: Callable[[web.Request], tuple[str, ...]]) -> Middleware:
    """Refuses what pages of other sites send, and foreign names: such a page may let its own name lead here."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.host
        if not is_known_host(host, hosts_of(request)):
            raise web.HTTPForbidden(text=f"This {what} does not answer as {host!r}. Start it with --allow-host {host}.")
        if is_foreign(request):
            raise web.HTTPForbidden(text=f"A page of another site sent this. Open this {what}, and send it there.")
        return await handler(request)

    return refuse


def tell_error(request: web.Request, error: Exception, what: str) -> tuple[HTTPStatus, str, dict[str, str]]:
    """Status, text and headers of the page in place of an error; a fault gets a number, which the log names.

    A redirection is no error, and raised again.
    """
    if isinstance(error, web.HTTPException):
        if error.status < HTTPStatus.BAD_REQUEST:
            raise error
        status, said = HTTPStatus(error.status), error.text or ""
        kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
        return status, status.description if said == f"{error.status}: {error.reason}" else said, kept
    if isinstance(error, TimeoutError):
        said = "The state did not answer in time. Try again, or see whether it can be reached."
        return HTTPStatus.GATEWAY_TIMEOUT, said, {}
    if isinstance(error, SlipwayError):
        return HTTPStatus.BAD_GATEWAY, str(error), {}
    number = secrets.token_hex(4)
    _log.error("error %s: %s %s", number, request.method, request.rel_url, exc_info=error)
    said = f"This is a fault of the {what}. Its log names it as error {number}."
    return HTTPStatus.INTERNAL_SERVER_ERROR, said, {}


async def read_posted(request: web.Request, most: int, fix: str = "Send less.") -> Posted:
    """The fields of a posted form, which may be `most` bytes long; an HTTPException says what is wrong with another.

    `fix` is what a person does about a form that is too large.
    """
    said, sent = f"This form takes {most / 1e6:.3g} MB at most.", request.content_length or 0
    if sent > most:
        raise web.HTTPRequestEntityTooLarge(most, sent, text=f"{said} What was sent has {sent / 1e6:.3g} MB. {fix}")
    try:
        async with asyncio.timeout(FORM_SECONDS):
            return await request.clone(client_max_size=most).post()
    except web.HTTPRequestEntityTooLarge as error:  # sent without its length
        error.text = f"{said} {fix}"
        raise
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"The form did not arrive within {FORM_SECONDS} seconds.") from None
    except (ValueError, LookupError, RuntimeError) as error:
        raise web.HTTPBadRequest(text="This is no form that can be read.") from error


def serve_site(app: web.Application, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serves on an address, which `tell` gets once it is bound, until SIGINT or SIGTERM.

    Threads that still wait for a store are not waited for, as `asyncio.run` would.
    """
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_serve(app, host, port, tell))
    finally:
        loop.close()


async def _serve(app: web.Application, host: str, port: int, tell: Callable[[str], None]) -> None:
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=1,
        shutdown_timeout=GRACE_SECONDS,
        handle_signals=False,
    )
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
