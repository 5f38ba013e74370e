"""Predict: the page that predicts, of the models in the environment's store.

The environment's servers are asked, if its settings name their address; without one, servers of this console.
"""

from __future__ import annotations

import asyncio
from functools import partial

from aiohttp import web
from markupsafe import Markup

from console.layout import respond
from console.records import is_own
from console.site import Site
from delivery.environment import Environment
from serving.predict_page.app import PredictPage
from serving.predict_page.models import StoredModels
from slipway.pages.page import notice


def add_room(app: web.Application, site: Site) -> None:
    """Adds the room's routes, and ends its servers with the console."""
    environment = site.environment
    its, may_read = environment.settings, partial(is_own, environment.state)
    models = StoredModels(environment.store, its.modules, its.home / "serving", its.serving.address, may_read)
    asked = _asked(environment)

    def framed(
        request: web.Request, title: str, body: Markup, *, subtitle: str | Markup = "", status: int = 200
    ) -> web.Response:
        return respond(request, title, body + asked, subtitle=subtitle, status=status)

    page = PredictPage(models, framed, "/predict")

    async def end(_app: web.Application) -> None:
        await asyncio.to_thread(models.close)

    app.add_routes(page.routes())
    app.on_cleanup.extend([page.close, end])


def _asked(environment: Environment) -> Markup:
    """Which server answers, for the end of each page."""
    serving = environment.settings.serving
    if serving.address:
        return Markup('<p class="note">The server at <code>{}</code> answers.</p>').format(serving.address)
    own = "A server of this console answers, with the version in production of the model store."
    if not serving.overlay:
        return Markup('<p class="note">{}</p>').format(own)
    lacks = Markup("The cluster's own is not asked: <code>serving.address</code> is not set in settings/{}.yaml.")
    return notice(Markup("{} {}").format(own, lacks.format(environment.name or "base")))
