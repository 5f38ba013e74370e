"""The console's room: the store's models, each served when it is asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from console.site import Site
from delivery.environment import open_environment
from serving.server.config import ServerConfig
from serving.server.model_sources import StoreModels
from serving.server.server import ModelServer
from slipway.stores.model_store import LocalModelStore
from tests.console.served import get, served
from tests.serving.predict_page.stored import write_home


def test_room_lists_the_models_and_predicts_with_the_version_in_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    number = write_home(tmp_path)

    async def look() -> None:
        async with served(Site(open_environment())) as client:
            listed = await client.get("/predict", allow_redirects=False)
            assert (listed.status, listed.headers["Location"]) == (303, "/predict/tiny")
            form = await client.get("/predict/tiny")
            page = await form.text()
            assert (form.status, 'aria-current="page">Predict' in page, 'name="size"' in page) == (200, True, True)
            assert 'name="label"' not in page
            assert (await client.get("/predict/predict.css")).status == 200
            answer = await client.post("/predict/tiny", data={"size": "1.5", "town": "Ulm"})
            assert (answer.status, f"Version {number}" in await answer.text()) == (200, True)
            table = await client.post("/predict/tiny/table", data={"slipway:csv": "size\n1\n" + "2\n" * 900})
            assert (table.status, "<h1>901 answers</h1>" in await table.text()) == (200, True)
            sent = await client.post("/predict/tiny/table", data={"slipway:csv": "size\r\n1\r\n"})  # as browsers do
            assert ">\nsize\n1\n</textarea>" in await sent.text()
            assert (await client.get("/predict/other")).status == 404
            assert (await client.post("/predict/tiny", data={"size": "x" * 70_000})).status == 413

    asyncio.run(look())


def test_room_of_an_empty_store_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))

    async def look() -> None:
        async with served(Site(open_environment())) as client:
            found = await client.get("/predict")
            assert (found.status, "no model" in await found.text()) == (200, True)

    asyncio.run(look())


def test_room_asks_the_server_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may have another version than the store's, and may be away: no stand-in answers then."""
    number = write_home(tmp_path)
    served_there = LocalModelStore(tmp_path / "models")
    server = ModelServer(
        StoreModels(served_there, ["tiny"], tmp_path / "cache"), ServerConfig(grpc_port=0, rest_port=0)
    )
    server.start()
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("SLIPWAY_SERVING__ADDRESS", f"http://127.0.0.1:{server.rest_port}")
    write_home(tmp_path / "empty")

    async def look() -> None:
        async with served(Site(open_environment())) as client:
            page = await (await client.get("/predict/tiny")).text()
            assert f"http://127.0.0.1:{server.rest_port}" in page
            answer = await client.post("/predict/tiny", data={"size": "1.5", "town": "Ulm"})
            assert (answer.status, f"Version {number}" in await answer.text()) == (200, True)
            await asyncio.to_thread(server.stop)
            assert (await client.post("/predict/tiny", data={"size": "1.5", "town": "Ulm"})).status in (502, 503)

    asyncio.run(look())


@pytest.mark.parametrize(("overlay", "says"), [("", "server of this console"), ("staging", "serving.address")])
def test_page_says_who_answers(home: Path, monkeypatch: pytest.MonkeyPatch, overlay: str, says: str) -> None:
    write_home(home)
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", overlay)
    assert says in get(Site(open_environment()), "/predict/tiny").text
