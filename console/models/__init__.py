"""The room of models."""

from __future__ import annotations

from aiohttp import web

from console.site import Site


def routes(site: Site) -> list[web.RouteDef]:
    """The pages of this room."""
    from console.models.room import Room

    return Room(site).routes()
