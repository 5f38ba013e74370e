"""Runs: the list, one run with its files, runs beside each other."""

from __future__ import annotations

from aiohttp import web

from console.runs import compare, files, listing, run

_RUN, _ARTIFACT, _PATH = "{run:[^/]+}", "{artifact:[^/]+}", "{path:(?s:.+)}"  # by itself, aiohttp leaves out braces


def routes() -> list[web.RouteDef]:
    """The pages of this room."""
    return [
        web.get("/runs", listing.show),
        web.get("/runs/compare", compare.show),
        web.get(f"/runs/{_RUN}", run.show),
        web.get(f"/runs/{_RUN}/live", run.show_progress),
        web.get(f"/runs/{_RUN}/files", files.show_artifacts),
        web.get(f"/runs/{_RUN}/files/{_ARTIFACT}", files.show_artifact),
        web.get(f"/runs/{_RUN}/files/{_ARTIFACT}/{_PATH}", files.show_file),
    ]
