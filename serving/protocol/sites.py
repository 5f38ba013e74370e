"""What sites of pages share: headers that protect them, whom they answer, and how they are served until a signal."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
from collections.abc import Callable

import yarl
from aiohttp import web

from serving.protocol.addresses import address_of, listen

IDLE_SECONDS = 10  # without a whole request; also what a slow client has for its headers
GRACE_SECONDS = 5
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


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


def serve_site(app: web.Application, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serves on an address, which `tell` gets once it is bound, until SIGINT or SIGTERM."""
    asyncio.run(_serve(app, host, port, tell))


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
