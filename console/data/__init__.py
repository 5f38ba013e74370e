"""The room of data: features of data sets, and metrics by slice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web
from markupsafe import Markup

from console.data.facets import View, find_facets
from console.data.facets_page import choose_form, facets_body
from console.data.sets import UnknownError, judged_runs, offers
from console.data.slices import SlicesView, find_slices
from console.data.slices_page import choose_runs, slices_body
from console.layout import button, get_form, respond
from console.site import Site, site_of
from slipway.pages.page import section
from slipway.runs.store import RunView, list_runs

Found = TypeVar("Found")


def routes() -> list[web.RouteDef]:
    """The pages of this room."""
    return [
        web.get("/data", _start),
        web.get("/data/features", _features),
        web.get("/data/slices", _slices),
    ]


async def _start(request: web.Request) -> web.StreamResponse:
    """Choices: a data set, or the evaluations of runs."""
    state = site_of(request).environment.state

    def look() -> Markup:
        views = _runs(site_of(request))
        runs = Markup("").join([choose_runs(SlicesView(), judged_runs(views)), button("show")])
        return section(
            "Features",
            choose_form(View(), offers(state, views)),
            note="Statistics of a data set, or of two beside each other.",
        ) + section(
            "Slices", get_form("/data/slices", runs), note="Metrics of a model on parts of the evaluation rows."
        )

    return respond(request, "Data", await _look(look))


async def _features(request: web.Request) -> web.StreamResponse:
    state = site_of(request).environment.state

    def look() -> Markup:
        view = View.of(request.query)
        return facets_body(view, find_facets(state, view), offers(state, _runs(site_of(request))))

    return respond(request, "Features", await _look(look))


async def _slices(request: web.Request) -> web.StreamResponse:
    state = site_of(request).environment.state

    def look() -> Markup:
        view = SlicesView.of(request.query)
        return slices_body(view, find_slices(state, view), judged_runs(_runs(site_of(request))))

    return respond(request, "Slices", await _look(look), scripts=["threshold.js"])


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
