"""The room of data: features of data sets, and metrics by slice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web
from markupsafe import Markup

from console.data.facets import View, find_facets
from console.data.facets_page import choose_form, facets_body
from console.data.sets import UnknownError, offers
from console.layout import respond
from console.site import Site, site_of
from slipway.pages.page import section
from slipway.runs.store import RunView, list_runs

Found = TypeVar("Found")


def routes() -> list[web.RouteDef]:
    """The pages of this room."""
    return [web.get("/data", _start), web.get("/data/features", _features)]


async def _start(request: web.Request) -> web.StreamResponse:
    """Choices: a data set, or the evaluations of runs."""
    state = site_of(request).environment.state
    known = await _look(lambda: offers(state, _runs(site_of(request))))
    body = section("Features", choose_form(View(), known), note="Statistics of a data set, alone or beside another.")
    return respond(request, "Data", body)


async def _features(request: web.Request) -> web.StreamResponse:
    state = site_of(request).environment.state

    def look() -> Markup:
        view = View.of(request.query)
        return facets_body(view, find_facets(state, view), offers(state, _runs(site_of(request))))

    return respond(request, "Features", await _look(look))


def _runs(site: Site) -> list[RunView]:
    return list_runs(site.environment.state.runs)


async def _look(look: Callable[[], Found]) -> Found:
    """What a function finds, in a thread; what is not there is 404, and a query that makes no sense 400."""
    try:
        return await asyncio.to_thread(look)
    except UnknownError as error:
        raise web.HTTPNotFound(text=str(error)) from error
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
