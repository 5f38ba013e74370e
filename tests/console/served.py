"""A console on loopback, asked over HTTP."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from console.app import make_app
from console.site import Site


def served(site: Site) -> TestClient[web.Request, web.Application]:
    """A client that asks by path, to be used with `async with`; `make_url` is the address for a browser."""
    return TestClient(TestServer(make_app(site)))
