"""What the console shows, and what a person may do in it."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from functools import cached_property

from aiohttp import web

from console.index.kept import Index
from console.index.runs import RunEntry, RunRecords
from console.index.under_way import UnderWay
from delivery.environment import Environment
from slipway.stores import storage


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

    @cached_property
    def runs(self) -> Index[RunEntry]:
        """All runs of the environment, as lists show them."""
        state = self.environment.state
        return Index(RunRecords(state), storage.join(state.console, "runs.json"))

    @cached_property
    def under_way(self) -> UnderWay:
        """Runs that a cluster has begun, and not ended."""
        return UnderWay(self.environment)


SITE = web.AppKey("site", Site)
DEADLINE = web.RequestKey("deadline", asyncio.Timeout)  # of a page; who sends for long moves it


def site_of(request: web.Request) -> Site:
    """The console that a request asks."""
    return request.config_dict[SITE]
