"""Serves the console until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from aiohttp import web

from console.app import make_app
from console.site import Site
from serving.protocol.addresses import address_of, listen

IDLE_SECONDS = 10  # without a whole request; also what a slow client has for its headers
GRACE_SECONDS = 5


def serve(site: Site, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serves on an address, which `tell` gets once it is bound, until the process is told to stop."""
    asyncio.run(_serve(site, host, port, tell))


async def _serve(site: Site, host: str, port: int, tell: Callable[[str], None]) -> None:
    runner = web.AppRunner(
        make_app(site),
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
        bound_host, bound_port = runner.addresses[0][:2]
        tell(f"http://{address_of(bound_host, bound_port)}/")
        await stop.wait()
    finally:
        await runner.cleanup()
