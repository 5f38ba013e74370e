"""What the console shows, and what a person may do in it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from aiohttp import web

from delivery.environment import Environment


@dataclass(frozen=True)
class Site:
    """One environment's console.

    Attributes:
        environment: Whose runs, models and data are shown.
        allow_actions: Whether forms may change something.
        hosts: Names that the server is called by, beside addresses and localhost.
        key: Signs the tokens of forms; a new one for each process.
    """

    environment: Environment
    allow_actions: bool = False
    hosts: tuple[str, ...] = ()
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)


SITE = web.AppKey("site", Site)


def site_of(request: web.Request) -> Site:
    """The console that a request asks."""
    return request.config_dict[SITE]
