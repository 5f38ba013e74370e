"""The page as a site on loopback, asked over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from serving.predict_page.asking import ServedModel
from serving.predict_page.form import Field, Form
from serving.predict_page.models import OneModel
from serving.predict_page.site import make_site

Client = TestClient[web.Request, web.Application]
FORM = Form(
    model="taxi",
    version=7,
    question="Will they tip?",
    label="big_tip",
    fields=(
        Field(name="fare", dtype="float32", low=0.0, high=1000.0, unit="USD", saw_missing=False, typical="8"),
        Field(name="payment", dtype="string", choices=("Cash", "Card"), saw_missing=True),
    ),
    rows=({"fare": "12.5", "payment": "Card"}, {"fare": "3", "payment": ""}),
)


def visit(catalogue: Any, look: Callable[[Client], Awaitable[Any]], hosts: tuple[str, ...] = ()) -> Any:
    """What `look` finds on the site, which is closed then."""

    async def go() -> Any:
        async with TestClient(TestServer(make_site(catalogue, hosts))) as client:
            return await look(client)

    try:
        return asyncio.run(go())
    finally:
        catalogue.close()


def one(address: str, form: Form | None = FORM, timeout_seconds: float = 1.0) -> OneModel:
    return OneModel(ServedModel(address, "taxi", timeout_seconds), form)
