"""Rollouts in front of Slipway's own model server: real models, the pin that the manifests write, real counters."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.server.config import ServerConfig
from serving.server.model_sources import ConfigFile
from serving.server.server import ModelServer
from slipway.errors import RolloutError
from slipway.evaluation.golden import read_golden
from tests.fakes.kubernetes.objects import Object
from tests.fakes.kubernetes.world import World, open_world

pytestmark = pytest.mark.slow


class RealPods:
    """A model server for each pod that is asked, told by its ConfigMap what to serve; users ask all of them."""

    def __init__(self, world: World, folder: Path, body: bytes) -> None:
        self._world = world
        self._folder = folder
        self._body = body
        self._servers: dict[str, ModelServer] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._users = threading.Thread(target=self._ask, daemon=True)
        self._users.start()

    def address(self, pod: Object) -> str:
        with self._lock:
            server = self._servers.get(pod["metadata"]["name"]) or self._start(pod)
        return f"http://127.0.0.1:{server.rest_port}"

    def stop(self) -> None:
        self._over.set()
        self._users.join()
        for server in self._servers.values():
            server.stop()

    def _start(self, pod: Object) -> ModelServer:
        names = [volume.get("configMap", {}).get("name", "") for volume in pod["spec"]["volumes"]]
        pin = next(name for name in names if name.startswith("taxi-models-v"))
        text = self._world.api.objects.get("ConfigMap", pod["metadata"]["namespace"], pin)["data"]["models.config"]
        path = self._folder / f"{pod['metadata']['name']}.config"
        path.write_text(text.replace("gs://bucket/models", self._world.store.uri))
        server = ModelServer(ConfigFile(path), ServerConfig(grpc_port=0, rest_port=0))
        server.start()
        self._servers[pod["metadata"]["name"]] = server
        return server

    def _ask(self) -> None:
        while not self._over.wait(0.001):
            for server in list(self._servers.values()):
                connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=5)
                connection.request("POST", "/v1/models/taxi:predict", self._body)
                connection.getresponse().read()
                connection.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two models, and a third one whose golden answers are another model's."""
    from tests.served_models import push_three

    folder = tmp_path_factory.mktemp("models")
    push_three(folder)
    return folder / "store"


@pytest.fixture
def world(tmp_path: Path, models: Path) -> Iterator[World]:
    with open_world(tmp_path, models) as opened:
        opened.policy = opened.policy.model_copy(
            update={"traffic_seconds": 30, "ready_seconds": 20, "max_p99_ratio": 50}
        )
        golden = read_golden(opened.store.version("taxi", opened.versions[0]).uri)
        body: dict[str, Any] = {"instances": [{"b64": one} for one in golden.examples]}
        pods = RealPods(opened, tmp_path, json.dumps(body).encode())
        opened.api.address = pods.address
        yield opened
        pods.stop()


def test_start_real_models_are_promoted_on_their_own_answers_and_counters(world: World) -> None:
    first, second, third = world.versions
    world.start(first)
    world.start(second)
    assert world.stable == second
    assert any("golden requests: 8 rows on 1 pods" in line for line in world.said)
    assert any(line.startswith("passed: p99 ") for line in world.said)
    with pytest.raises(RolloutError, match="differently than training did"):
        world.start(third)
    assert (world.stable, world.store.stage("taxi", third)) == (second, "quarantined")
