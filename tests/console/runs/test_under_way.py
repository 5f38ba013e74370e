"""Runs under way on a cluster, in the list; and platforms that do not answer, or not as they should."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from console.index import under_way
from console.site import Site
from delivery.environment import open_environment
from tests.console.models.shelf import HOSTILE
from tests.console.served import served
from tests.delivery.targets.places import ROOT, on_kubeflow, on_vertex
from tests.delivery.targets.submissions import submission
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.vertex import FakeVertex
from tests.fakes.vertex.server import LOCATION, PROJECT
from tests.recorded_runs import write_run


def of_kubeflow(monkeypatch: pytest.MonkeyPatch, url: str) -> Site:
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__ENDPOINT", url)
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__PIPELINE_ROOT", ROOT)
    return Site(open_environment())


async def listed(site: Site, until: str, path: str = "/runs") -> str:
    """The list as soon as it says something; none of its pages is held up."""
    async with served(site) as client, asyncio.timeout(30):
        while True:
            began = time.monotonic()
            async with client.get(path) as answer:
                assert answer.status == 200
                text = await answer.text()
            assert time.monotonic() - began < 2
            if until in text:
                return text
            await asyncio.sleep(0.1)


def test_runs_of_kubeflow_are_listed_until_they_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "EVERY_SECONDS", 0.0)
    with FakeKubeflow() as server:
        target = on_kubeflow(server, environment="base")
        goes_on, ended = target.submit(submission("kubeflow")), target.submit(submission("kubeflow"))
        server.runs[ended.id] |= {"state": "SUCCEEDED", "finished_at": "2026-01-01T00:00:00Z"}
        server.runs[goes_on.id]["display_name"] = f"taxi {HOSTILE}"
        site = of_kubeflow(monkeypatch, server.url)
        page = asyncio.run(listed(site, "Under way on kubeflow"))
        assert goes_on.url.replace("&", "&amp;") in page
        assert ended.url not in page
        assert "<script>alert" not in page
        write_run(home, goes_on.name, "pushed")
        page = asyncio.run(listed(of_kubeflow(monkeypatch, server.url), f"/runs/{goes_on.name}"))
        assert goes_on.url not in page


def test_runs_of_vertex_are_listed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeVertex() as server:
        run = on_vertex(server, environment="base").submit(submission("vertex"))
        for name, value in {
            "PROJECT": PROJECT,
            "LOCATION": LOCATION,
            "PIPELINE_ROOT": ROOT,
            "ENDPOINT": server.url,
        }.items():
            monkeypatch.setenv(f"SLIPWAY_VERTEX__{name}", value)
        page = asyncio.run(listed(Site(open_environment()), "Under way on vertex"))
        assert run.title in page


def test_platform_that_does_not_answer_is_said_and_not_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "LATE_SECONDS", 0.3)
    write_run(home, "taxi-1", "pushed")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site = of_kubeflow(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        page = asyncio.run(listed(site, "kubeflow has not answered"))
    assert "/runs/taxi-1" in page


@pytest.mark.parametrize("answers", ["refuses", "is gone", "is not set up"])
def test_platform_that_cannot_be_asked_is_said(home: Path, monkeypatch: pytest.MonkeyPatch, answers: str) -> None:
    monkeypatch.setattr("slipway.remote.retries.sleep", lambda _: None)
    with FakeKubeflow() as server:
        if answers == "refuses":
            server.fail("GET", "/apis/v2beta1/experiments", 403, times=100)
        site = of_kubeflow(monkeypatch, "http://127.0.0.1:9" if answers == "is gone" else server.url)
        if answers == "is not set up":
            monkeypatch.setenv("SLIPWAY_KUBEFLOW__AUTH", "token")
            site = Site(open_environment())
        assert "kubeflow." in asyncio.run(listed(site, "are not known"))


def test_nothing_is_asked_where_the_settings_name_no_platform(site: Site) -> None:
    assert "Under way" not in asyncio.run(listed(site, "There are no runs yet"))
