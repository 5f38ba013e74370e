"""A console on loopback, asked over HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from typing import NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from console.app import make_app
from console.site import Site


class Answer(NamedTuple):
    """What the console said."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def links(self) -> list[str]:
        """Addresses that the page leads to, of the console's own."""
        return [unescape(link) for link in re.findall(r'(?:href|src|data-live)="([/?][^"]*)"', self.text)]


def served(site: Site) -> TestClient[web.Request, web.Application]:
    """A client that asks by path, to be used with `async with`; `make_url` is the address for a browser."""
    return TestClient(TestServer(make_app(site)))


def get(site: Site, path: str, **headers: str) -> Answer:
    """The answer of a console that knows the runs to a path, which is sent as it is written."""

    async def ask() -> Answer:
        anew = replace(site)
        async with served(anew) as client:
            await anew.runs.look()
            url = URL(f"{client.make_url('/')}{path.removeprefix('/')}", encoded=True)
            async with client.session.get(url, headers=headers, allow_redirects=False) as answer:
                return Answer(answer.status, answer.headers, await answer.text(errors="replace"))

    return asyncio.run(ask())
