"""A console on loopback, asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.test_utils import TestServer

from console.app import make_app
from console.site import Site


@asynccontextmanager
async def served(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the console, whose addresses are paths."""
    async with TestServer(make_app(site)) as server, aiohttp.ClientSession(server.make_url("/")) as client:
        yield client
