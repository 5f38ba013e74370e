"""The room of data: features of data sets, and metrics by slice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from markupsafe import Markup

from console.data.facets import View, find_facets
from console.data.facets_page import choose_form, facets_body
from console.data.sets import UnknownError, judged_runs, offers
from console.data.slices import SlicesView, find_slices
from console.data.slices_page import choose_runs, slices_body
from console.index.runs import RunEntry
from console.layout import button, get_form, respond
from console.site import site_of
from slipway.pages.page import notice, section

REFRESH_SECONDS = 3  # while the index is still reading runs


def routes() -> list[web.RouteDef]:
    """The pages of this room."""
    return [
        web.get("/data", _start),
        web.get("/data/features", _features),
        web.get("/data/slices", _slices),
    ]


async def _start(request: web.Request) -> web.StreamResponse:
    """Choices: data sets, or the evaluations of runs."""
    state, runs, index = site_of(request).environment.state, await _runs(request), site_of(request).runs
    is_read = index.has_looked and not index.missing

    def look() -> Markup:
        if not runs and is_read:
            return Markup("<p>There are no runs yet. <code>slipway run</code> makes one.</p>")
        features, slices = choose_form(View(), offers(state, runs)), choose_runs(SlicesView(), judged_runs(runs))
        reading = Markup("") if is_read else notice("Runs are still being read. The page loads itself again.")
        return (
            reading
            + section(
                "Features",
                features,
                note="Statistics of a data set, or of two beside each other: splits, runs, requests.",
            )
            + section(
                "Slices",
                get_form("/data/slices", slices, button("show")),
                note="Metrics on parts of the evaluation rows.",
            )
        )

    return respond(request, "Data", await _found(look), refresh_seconds=None if is_read else REFRESH_SECONDS)


async def _features(request: web.Request) -> web.StreamResponse:
    if not request.query.get("first"):
        raise web.HTTPSeeOther("/data#features")  # where one is chosen
    state, runs = site_of(request).environment.state, await _runs(request)

    def look() -> Markup:
        view = View.of(request.query)
        return facets_body(view, find_facets(state, view), offers(state, runs))

    return respond(request, "Features", await _found(look))


async def _slices(request: web.Request) -> web.StreamResponse:
    if not any(request.query.getall("run", [])):
        raise web.HTTPSeeOther("/data#slices")
    state, runs = site_of(request).environment.state, await _runs(request)

    def look() -> Markup:
        view = SlicesView.of(request.query)
        return slices_body(view, find_slices(state, view), judged_runs(runs))

    return respond(request, "Slices", await _found(look), scripts=["threshold.js"])


async def _runs(request: web.Request) -> list[RunEntry]:
    """All runs, newest first."""
    entries = await site_of(request).runs.entries()
    return sorted(entries.values(), key=lambda run: (run.started, run.name), reverse=True)


async def _found(look: Callable[[], Markup]) -> Markup:
    """What a function finds, in a thread; what is not there is 404, and a query that makes no sense 400."""
    try:
        return await asyncio.to_thread(look)
    except UnknownError as error:
        raise web.HTTPNotFound(text=str(error)) from error
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
