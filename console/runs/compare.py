"""Runs beside each other."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import quote

from aiohttp import web
from markupsafe import Markup

from console.layout import respond
from console.runs.run import find_named
from slipway.pages.printable import printable
from slipway.runs.compare import compare, comparison_body
from slipway.runs.store import RunView

MOST = 8


async def show(request: web.Request) -> web.Response:
    """The comparison of the runs that the query names, with the first of them."""
    names = list(dict.fromkeys(request.query.getall("run", [])))
    if not 2 <= len(names) <= MOST:
        said = Markup("<p>Choose two to {} runs of <a href='/runs'>the list</a> to compare; {} {} chosen.</p>")
        body = said.format(MOST, len(names), "is" if len(names) == 1 else "are")
        return respond(request, "Compare runs", body, status=HTTPStatus.BAD_REQUEST)
    views = [await find_named(request, name) for name in names]
    return respond(request, f"{len(views)} runs compared", await asyncio.to_thread(_body, views))


def _body(views: list[RunView]) -> Markup:
    link = Markup('<a href="/runs/{}">{}</a>')
    heads = [link.format(quote(view.name, safe=""), printable(view.name)) for view in views]
    return Markup('<div class="compared">{}</div>').format(comparison_body(views, compare(views), heads))
