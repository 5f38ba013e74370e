"""Pages of models over HTTP: what they show, hostile names, many versions, a store and a cluster out of reach."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from console.models import room
from console.models.catalog import Catalog, Served
from console.models.model_page import draw_windows, model_page
from console.models.overview import models_page
from console.site import Site
from delivery.environment import open_environment
from pipelines.training import TRAINING
from slipway.evaluation.results import write_evaluation
from slipway.monitoring.history import read_windows
from slipway.stores import storage
from slipway.stores.model_store import LocalModelStore
from tests.console.models.shelf import HOSTILE, described, lay_versions, push_versions
from tests.console.served import served
from tests.fakes.storage_server import StorageServer
from tests.model_files import write_model
from tests.recorded_runs import evaluation
from tests.watched_model import MODEL, Watched, draw, drifted

FIRST_BYTE_SECONDS, SLACK = 0.1, 5  # others use the machine, too


def read(site: Site, *paths: str) -> list[tuple[int, str]]:
    async def ask() -> list[tuple[int, str]]:
        told = []
        async with served(replace(site)) as client:  # whose look at the runs is of this loop
            for path in paths:
                async with client.get(path) as answer:
                    told.append((answer.status, await answer.text()))
        return told

    return asyncio.run(ask())


def test_the_number_comes_first(site: Site, tmp_path: Path) -> None:
    store, (first, _) = push_versions(tmp_path, 2)
    store.promote("taxi", first, why="as agreed", who="ann")
    page = str(models_page(Catalog(site.environment).models()))
    places = [page.index(text) for text in ("auc", "0.9", f"/models/taxi/{first}", "promote by ann", "last window")]
    assert places == sorted(places)


def test_an_empty_store_says_what_fills_it(site: Site) -> None:
    [(status, page)] = read(site, "/models")
    assert (status, "slipway run" in page) == (200, True)


def test_a_version_page_has_lineage_files_and_commands(site: Site, tmp_path: Path) -> None:
    _, [number] = push_versions(tmp_path, 1)
    [(status, page)] = read(site, f"/models/taxi/{number}")
    assert status == 200
    for text in ("/runs/taxi-0", "/data/trips.csv", "ab" * 32, "c0ffee", "hidden=[64]", "saved_model.pb",
                 f"slipway models verify taxi/{number}", "auc 0.95 is at least 0.93"):  # fmt: skip
        assert text in page


def test_a_quarantined_version_says_by_whom_and_why_under_each_number(site: Site, tmp_path: Path) -> None:
    store, (first, second) = push_versions(tmp_path, 2)
    for number in (first, second):
        store.promote("taxi", number)
    store.rollback("taxi", why="p99 doubled", who="ann")
    [(_, page)] = read(site, f"/models/taxi/{second}")
    assert "Quarantined by ann" in page
    assert "p99 doubled" in page


def test_hostile_words_are_shown_as_text(site: Site, tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "models")
    given = described(1, run=HOSTILE)
    lineage = given.lineage.model_copy(update={"data_uri": HOSTILE, "overrides": {HOSTILE: HOSTILE}})
    given = given.model_copy(update={"lineage": lineage, "metrics": {HOSTILE: 1.0}, "reasons": [HOSTILE],
                                     "artifacts": {HOSTILE: HOSTILE}, "data_digest": HOSTILE})  # fmt: skip
    number = store.push(write_model(tmp_path / "source", 1), given).version.number
    store.promote("taxi", number, why=HOSTILE, who=HOSTILE, says="x" * 10_000)
    for status, page in read(site, "/models", "/models/taxi", f"/models/taxi/{number}"):
        assert status == 200
        assert "<script>alert" not in page
        assert not set(page) & set("\x00\x1b\u202e")


def test_windows_are_told_and_drawn(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    version = watched.push()
    for day in range(2):
        requests, scores, labels = draw(day)
        watched.tell(watched.ask(version, day, drifted(requests) if day else requests, scores), labels)
        watched.run(day)
    windows = read_windows(storage.join(watched.windows, MODEL))
    page = str(draw_windows(windows))
    assert windows[-1].verdict in page
    assert "fare" in page
    assert "style=" not in page


def test_a_window_of_requests_has_a_page(site: Site, home: Path) -> None:
    watched = Watched(home)
    version = watched.push()
    requests, scores, _ = draw(1)
    watched.ask(version, 0, requests, scores)
    watched.run(0)
    [(_, page)] = read(site, f"/models/{MODEL}")
    [link] = re.findall(r'href="(/models/[^"]+/windows/[^"]+)"', page)
    pages = read(site, link, f"/models/{MODEL}/windows/..%2f..%2fetc", f"/models/{MODEL}/windows/2026")
    assert [status for status, _ in pages] == [200, 404, 404]
    assert "All columns" in pages[0][1]
    assert "style=" not in pages[0][1]


def test_a_damaged_model_is_told(site: Site, tmp_path: Path) -> None:
    push_versions(tmp_path, 1)
    (tmp_path / "models" / "taxi" / ".state.json").write_text("{")
    for status, page in read(site, "/models", "/models/taxi"):
        assert (status, ".state.json" in page) == (200, True)


def test_a_server_of_this_machine_that_is_not_there_is_said(site: Site, tmp_path: Path) -> None:
    push_versions(tmp_path, 1)
    [(status, page)] = read(site, "/models/taxi")
    assert status == 200
    assert "slipway serve" in page or "127.0.0.1:8501" in page


def test_a_cluster_out_of_reach_holds_no_page_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push_versions(tmp_path, 1)
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "staging")
    asked: list[object] = []

    def hangs(*given: object, **bounds: object) -> list[object]:
        asked.append(given)
        time.sleep(4)
        return []

    monkeypatch.setattr("console.models.catalog.rollout_status", hangs)
    began = time.monotonic()
    pages = read(Site(open_environment()), "/models/taxi", "/models/taxi")
    assert [status for status, _ in pages] == [200, 200]
    assert all("not reachable" in page for _, page in pages)
    assert len(asked) == 1  # the second page waits for the answer to the first
    assert time.monotonic() - began < 9


def test_what_a_cluster_serves_is_shown(site: Site, tmp_path: Path) -> None:
    store, (first, second) = push_versions(tmp_path, 2)
    store.promote("taxi", first)
    model = Catalog(site.environment).model("taxi")
    assert model is not None
    last = {"version": first, "phase": "promoted", "updated": 1.79e9, "who": "ann", "says": "", "reasons": [HOSTILE]}
    found = {"model": "taxi", "namespace": "slipway-staging", "production": first, "holder": "ann@laptop",
             "held_since": "2026", "expired": False, "rollout": last,
             "stable": {"version": first, "ready": 2, "replicas": 3, "paused": False},
             "canary": {"version": second, "ready": 0, "replicas": 1, "paused": True}}  # fmt: skip
    page = str(model_page(model, Served(found), draw_windows([]), draw_windows([])))
    for text in (
        "2 of 3 ready",
        "0 of 1 ready, paused",
        "taxi-serving.slipway-staging",
        "ann@laptop",
        "promoted since",
    ):
        assert text in page
    assert "<script>" not in page


def test_a_store_out_of_reach_is_a_page_not_a_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    monkeypatch.setenv(
        "SLIPWAY_REMOTE_HOME",
        "gs://anonymous@bucket/home?scheme=http&endpoint_override=127.0.0.1:9&retry_limit_seconds=2",
    )
    monkeypatch.setattr(room, "STORE_SECONDS", 1.0)
    [(status, page)] = read(Site(open_environment()), "/models")
    assert status in (502, 504)
    assert "bucket/home" in page


def took(site: Site, *paths: str) -> list[float]:
    """Seconds to the first byte of each page, the third time that it is asked for."""

    async def ask() -> list[float]:
        seconds = []
        async with served(replace(site)) as client:  # whose look at the runs is of this loop
            for path in paths:
                for _ in range(3):
                    began = time.perf_counter()
                    async with client.get(path) as answer:
                        await answer.content.readany()
                        last = time.perf_counter() - began
                        assert answer.status == 200
                    await asyncio.sleep(1.1)  # longer than the catalog remembers without asking
                seconds.append(last)
        return seconds

    found = asyncio.run(ask())
    print({path: round(one, 3) for path, one in zip(paths, found, strict=True)})
    return found


@pytest.mark.slow
def test_200_versions_come_at_once_from_a_disk(site: Site) -> None:
    numbers = lay_versions(site.environment.state.store, 200)
    assert max(took(site, "/models", "/models/taxi", f"/models/taxi/{numbers[7]}")) < SLACK * FIRST_BYTE_SECONDS


@pytest.mark.slow
def test_200_versions_come_at_once_from_a_bucket(
    storage_server: StorageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", storage_server.uri("home"))
    site = Site(open_environment())
    numbers = lay_versions(site.environment.state.store, 200)
    seconds = took(site, "/models", "/models/taxi", f"/models/taxi/{numbers[7]}")
    assert max(seconds) < SLACK * FIRST_BYTE_SECONDS, seconds


def test_a_version_page_has_every_check_of_the_gate(site: Site, home: Path) -> None:
    given, folder = described(1), home / "artifacts" / "evaluation"
    given.lineage.shows, given.artifacts = TRAINING.shows, {"evaluation": str(folder)}
    folder.mkdir(parents=True)
    write_evaluation(evaluation(), folder)
    number = LocalModelStore(home / "models").push(write_model(home / "source"), given).version.number
    [(_, page)] = read(site, f"/models/taxi/{number}")
    assert "All checks" in page
    assert all(check.metric in page and check.slice in page for check in evaluation().verdict.checks)


def test_a_hundred_people_at_once_get_their_page(site: Site, home: Path) -> None:
    store, (first, _) = push_versions(home, 2)
    store.promote("taxi", first)

    async def ask() -> set[int]:
        async with served(site) as client:

            async def one(path: str) -> int:
                async with client.get(path) as answer:
                    await answer.read()
                    return answer.status

            return set(await asyncio.gather(*(one(path) for path in ("/models", "/models/taxi") * 50)))

    assert asyncio.run(ask()) == {200}
