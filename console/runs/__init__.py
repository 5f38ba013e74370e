"""Runs: the list, one run with its files, runs beside each other."""

from __future__ import annotations

from aiohttp import web

from console.runs import compare, files, listing, run


def routes() -> list[web.RouteDef]:
    """The pages of this room."""
    return [
        web.get("/runs", listing.show),
        web.get("/runs/compare", compare.show),
        web.get("/runs/{run}", run.show),
        web.get("/runs/{run}/live", run.show_progress),
        web.get("/runs/{run}/files", files.show_artifacts),
        web.get("/runs/{run}/files/{artifact}", files.show_artifact),
        web.get("/runs/{run}/files/{artifact}/{path:.+}", files.show_file),
    ]
