"""Runs on gs://, and a bucket that is out of reach."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from console.index.runs import RunRecords
from console.site import Site
from delivery.environment import open_environment
from pipelines.registry import Locations
from slipway.runs.record import Outcome
from slipway.runs.store import OUTCOME, STEPS, SUMMARY
from slipway.stores import storage
from slipway.stores.storage import join
from tests.console.served import served
from tests.each_store import ON_EACH_STORE
from tests.fakes.storage_server import StorageServer
from tests.recorded_runs import write_run

GONE = "gs://anonymous@bucket/home?scheme=http&endpoint_override=localhost:9&retry_limit_seconds={}"


def open_site(remote: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("SLIPWAY_HOME", str(home / "home"))
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", remote)
    return Site(open_environment())


@pytest.fixture
def remote(tmp_path: Path, storage_server: StorageServer) -> str:
    """A run as one on a cluster leaves it: no steps, artifacts on gs://."""
    folder = write_run(tmp_path / "made", "taxi-1", "pushed")
    uri = storage_server.uri("home")
    storage.copy_folder(str(folder / "artifacts"), join(uri, "artifacts"))
    (folder / STEPS).unlink()
    for name in (SUMMARY, OUTCOME):
        file = folder / name
        file.write_text(file.read_text().replace(str(folder / "artifacts"), "gs://PLACE"))
        text = file.read_text()
        for artifact in Outcome.model_validate_json((folder / OUTCOME).read_text()).artifacts:
            text = text.replace(f'"gs://PLACE/{artifact}"', f'"{join(uri, "artifacts", artifact)}"')
        storage.write_text(join(uri, "runs", "taxi-1", name), text)
    return uri


@ON_EACH_STORE
def test_runs_of_a_bucket_are_shown(remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = open_site(remote, tmp_path, monkeypatch)

    async def look() -> None:
        async with served(site) as client:
            for path, said in (
                ("/runs", "taxi-1"),
                ("/runs/taxi-1", "ROC curve"),
                ("/runs/taxi-1/files", "summary.json"),
                ("/runs/taxi-1/files/evaluation/evaluation.json", "&#34;blessed&#34;: true"),
                ("/runs/taxi-1/files/record/summary.json", "&#34;taxi-1&#34;"),
            ):
                await site.runs.look()
                async with client.get(path) as answer:
                    assert (answer.status, said in await answer.text()) == (200, True), path
            async with client.get("/runs/taxi-1/files/evaluation/nix.json") as answer:
                assert answer.status in (404, 502)

    asyncio.run(look())
    assert storage.exists(join(remote, "console", "runs.json"))


def test_a_bucket_out_of_reach_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = socket.create_server(("localhost", 0))  # takes requests and answers none of them
    remote = GONE.replace("localhost:9", f"localhost:{silent.getsockname()[1]}")
    site = open_site(remote.format(3), tmp_path, monkeypatch)

    async def look() -> None:
        async with served(site) as client:
            began = time.monotonic()
            async with client.get("/runs") as answer:
                text = await answer.text()
            assert time.monotonic() - began < 2
            assert answer.status == 200
            assert "still being read" in text
            assert "There are no runs" not in text
            assert answer.headers["Refresh"] == "2"
            silent.close()
            await site.runs.look()
            async with client.get("/runs") as answer:
                assert "bucket" in await answer.text()

    asyncio.run(look())


def test_an_outage_keeps_the_list_and_says_why(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage_server: StorageServer
) -> None:
    site = open_site(remote, tmp_path, monkeypatch)

    async def look() -> None:
        async with served(site) as client:
            await site.runs.look()
            records = site.runs.source
            assert isinstance(records, RunRecords)
            records.state = Locations.under(GONE.format(0.2))
            assert await site.runs.find("taxi-2") is None
            async with client.get("/runs") as answer:
                text = await answer.text()
            assert "taxi-1" in text
            assert "may be old" in text
            async with client.get("/runs/taxi-1") as answer:
                assert answer.status == 200

    asyncio.run(look())
