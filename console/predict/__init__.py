"""Predict: the page that predicts, of the models in the environment's store, each served on this machine."""

from __future__ import annotations

import asyncio

from aiohttp import web

from console.layout import respond
from console.site import Site
from serving.predict_page.app import PredictPage
from serving.predict_page.models import StoredModels


def add_room(app: web.Application, site: Site) -> None:
    """Adds the room's routes, and ends its servers with the console."""
    environment = site.environment
    models = StoredModels(environment.store, environment.settings.modules, environment.settings.home / "serving")
    page = PredictPage(models, respond, "/predict")

    async def end(_app: web.Application) -> None:
        await asyncio.to_thread(models.close)

    app.add_routes(page.routes())
    app.on_cleanup.extend([page.close, end])
