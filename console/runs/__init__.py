"""The room of runs."""

from __future__ import annotations

from aiohttp import web
from markupsafe import Markup

from console.layout import respond


def routes() -> list[web.RouteDef]:
    """The pages of this room."""
    return [web.get("/runs", _list)]


async def _list(request: web.Request) -> web.StreamResponse:
    return respond(request, "Runs", Markup(""))
