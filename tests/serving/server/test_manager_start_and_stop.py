"""When the manager starts, stops, and follows another source."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.protocol.errors import ServingError
from serving.protocol.protos import model_server_config_pb2
from serving.server import model_manager
from serving.server.config import ServerConfig
from serving.server.model_manager import ModelManager
from serving.server.model_sources import BasePaths, Wanted
from slipway.errors import StoreError
from tests.serving.server.managing import config, managing, predict, states
from tests.serving.server.versions_on_disk import VersionsOnDisk, without
from tests.serving.server.waiting import eventually


class Once:
    """A source that is away after its first poll."""

    def __init__(self, wanted: dict[str, Wanted | None]) -> None:
        self.left = [wanted]

    def poll(self) -> dict[str, Wanted | None]:
        if not self.left:
            raise OSError("the store is away")
        return self.left.pop()

    def describe(self, model: str) -> str:
        return f"the test wants nothing of {model}"


def test_manager_reload_polls_the_new_source_once(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base), poll_seconds=0.0) as manager:
        manager.reload(Once({"n": Wanted({2: versions.add(2)})}))
        assert [status.version for status in manager.status("n")] == [2]


def test_manager_stop_ends_a_reload_that_waits(versions: VersionsOnDisk, tmp_path: Path) -> None:
    versions.add(1)
    broken = VersionsOnDisk(versions.model, tmp_path / "broken")
    broken.add(1, without("saved_model.pb"))
    with managing(config(versions.base), max_load_retries=5, retry_seconds=60.0) as manager:
        versions.remove(1)
        eventually(lambda: states(manager) == {1: "END"})
        reloading = ThreadPoolExecutor(1).submit(manager.reload, BasePaths.single("n", broken.base))
        eventually(lambda: "n" in manager.availability())
    with pytest.raises(ServingError, match="server is stopping"):
        reloading.result(5)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda versions: versions.base.rmdir(), "Could not find base path"),
        (lambda versions: None, "holds no version"),
        (lambda versions: versions.add(1, without("saved_model.pb")), "cannot serve: m version 1: NOT_FOUND: "),
    ],
)
def test_manager_nothing_to_serve_is_an_error_at_the_start(
    versions: VersionsOnDisk, prepare: Callable[[VersionsOnDisk], object], message: str
) -> None:
    prepare(versions)
    with pytest.raises(StoreError, match=message), managing(config(versions.base)):
        pass


@pytest.mark.parametrize("damage", [None, without("saved_model.pb")], ids=["no version", "a damaged version"])
def test_manager_model_that_cannot_be_served_does_not_stop_the_others(
    versions: VersionsOnDisk, tmp_path: Path, damage: Callable[[Path], object] | None
) -> None:
    versions.add(1)
    other = VersionsOnDisk(versions.model, tmp_path / "other")
    if damage:
        other.add(1, damage)
    models = [
        model_server_config_pb2.ModelConfig(name=name, base_path=str(base))
        for name, base in (("other", other.base), ("m", versions.base))
    ]
    with managing(BasePaths(models), max_load_retries=5, retry_seconds=60.0) as manager:
        assert predict(manager) == 1
        assert manager.availability() == {"other": False, "m": True}
        with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(other\)"):
            manager.use("other")
        other.add(2)
        eventually(lambda: manager.availability()["other"])


def test_stop_ends_a_start_that_waits_for_its_models(versions: VersionsOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()

    def load(name: str, number: int, path: Path) -> Any:
        tried.set()
        raise OSError("not yet")

    versions.add(1)
    monkeypatch.setattr(model_manager, "load_servable", load)
    manager = ModelManager(config(versions.base), ServerConfig(max_load_retries=1000, retry_seconds=60))
    with ThreadPoolExecutor(1) as threads:
        started = threads.submit(manager.start)
        assert tried.wait(20)
        manager.stop()
        with pytest.raises(StoreError):
            started.result(20)
