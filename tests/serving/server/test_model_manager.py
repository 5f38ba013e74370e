"""The manager over real SavedModels in real directories."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.protocol.errors import ServingError
from serving.protocol.protos import inference_pb2, model_server_config_pb2
from serving.protocol.signatures import CLASSIFY_METHOD
from serving.server import model_manager
from serving.server.config import ServerConfig
from serving.server.inference import multi_inference
from serving.server.model_manager import ModelManager
from serving.server.model_sources import BasePaths, ModelSource, Wanted
from serving.server.model_versions import State
from serving.server.warmup import load_servable
from slipway.errors import StoreError
from tests.serving.server.versions_on_disk import VersionsOnDisk, cut, replace, without
from tests.serving.server.waiting import eventually

DATA = "variables/variables.data-00000-of-00001"


@contextmanager
def managing(source: ModelSource, **options: Any) -> Iterator[ModelManager]:
    defaults: dict[str, Any] = {"poll_seconds": 0.02, "max_load_retries": 0}
    manager = ModelManager(source, ServerConfig(**(defaults | options)))
    manager.start()
    try:
        yield manager
    finally:
        manager.stop()


def config(base: Path, policy: str = "", labels: dict[str, int] | None = None) -> BasePaths:
    model = model_server_config_pb2.ModelConfig(name="m", base_path=str(base), version_labels=labels)
    if policy == "all":
        model.model_version_policy.all.SetInParent()
    elif policy.startswith("latest"):
        model.model_version_policy.latest.num_versions = int(policy.removeprefix("latest"))
    elif policy:
        model.model_version_policy.specific.versions.extend(int(number) for number in policy.split(","))
    return BasePaths([model])


def states(manager: ModelManager) -> dict[int, str]:
    return {status.version: State(status.state).name for status in manager.status("m")}


def predict(manager: ModelManager, **choice: Any) -> int:
    with manager.use("m", **choice) as servable:
        assert servable.predict("raw", {"rooms": np.array([1, 2])})["predictions"].shape == (2,)
        return servable.version


def test_manager_new_version_is_loaded_before_the_old_one_goes(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        assert predict(manager) == 1
        versions.add(2)
        seen = set()
        while states(manager) != {1: "END", 2: "AVAILABLE"}:
            seen.add(predict(manager))
        assert predict(manager) == 2
        assert seen <= {1, 2}
        with pytest.raises(ServingError, match=r"Servable not found for request: Specific\(m, 1\)"):
            manager.use("m", 1)


def test_manager_names_that_are_no_integers_are_ignored(versions: VersionsOnDisk) -> None:
    versions.add(3)
    for name in ("x4", "4.0", ".9", "-5", "9" * 20):
        (versions.base / name).mkdir()
    with managing(config(versions.base, "all")) as manager:
        assert states(manager) == {3: "AVAILABLE"}


@pytest.mark.parametrize(
    ("policy", "expected"), [("", {4}), ("latest2", {3, 4}), ("all", {1, 2, 3, 4}), ("1,3,9", {1, 3})]
)
def test_manager_policy_chooses_versions(versions: VersionsOnDisk, policy: str, expected: set[int]) -> None:
    for number in (1, 2, 3, 4):
        versions.add(number)
    with managing(config(versions.base, policy)) as manager:
        eventually(lambda: states(manager) == dict.fromkeys(expected, "AVAILABLE"))
        assert predict(manager) == max(expected)
        assert predict(manager, version=min(expected)) == min(expected)


@pytest.mark.parametrize(
    "damage",
    [
        without("saved_model.pb"),
        without(DATA),
        cut("saved_model.pb"),
        cut(DATA),
        cut("variables/variables.index"),
        cut("assets.extra/tf_serving_warmup_requests"),
        # These two load, and fail with the first request: that of the warm-up.
        without("variables"),
        without("variables/variables.index"),
    ],
    ids=lambda damage: damage.__qualname__.split(".")[0] + str(damage.__closure__[0].cell_contents),
)
def test_manager_broken_version_keeps_the_good_one(versions: VersionsOnDisk, damage: Callable[[Path], object]) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        versions.add(2, damage)
        eventually(lambda: states(manager).get(2) == "END")
        status = manager.status("m", 2)[0].status
        assert status.error_code != grpc.StatusCode.OK.value[0]
        assert status.error_message
        assert predict(manager) == 1
        versions.add(3)
        eventually(lambda: states(manager) == {1: "END", 2: "END", 3: "AVAILABLE"})


def test_manager_half_copied_model_without_warm_up_loads_and_then_fails(versions: VersionsOnDisk) -> None:
    """TensorFlow Serving's trap: the good version is gone by then."""

    def damage(path: Path) -> None:
        without("assets.extra")(path)
        without("variables")(path)

    versions.add(1)
    with managing(config(versions.base)) as manager:
        versions.add(2, damage)
        eventually(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})
        with manager.use("m") as servable, pytest.raises(ServingError, match="Could not find variable") as caught:
            servable.predict("raw", {})
        assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_manager_broken_version_is_tried_again_and_then_given_up(
    versions: VersionsOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.add(1)
    tries: list[float] = []

    def load(name: str, number: int, path: Path) -> Any:
        if number == 2:
            tries.append(time.monotonic())
        return load_servable(name, number, path)

    monkeypatch.setattr(model_manager, "load_servable", load)
    manager = ModelManager(
        config(versions.base), ServerConfig(poll_seconds=0.02, max_load_retries=2, retry_seconds=0.2)
    )
    manager.start()
    versions.add(2, without("saved_model.pb"))
    eventually(lambda: states(manager).get(2) == "LOADING")
    eventually(lambda: states(manager).get(2) == "END")
    time.sleep(0.5)
    manager.stop()

    assert len(tries) == 3
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(tries))


def test_manager_broken_version_that_is_replaced_under_its_number_is_loaded(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        versions.add(2, without("saved_model.pb"))
        eventually(lambda: states(manager).get(2) == "END")
        versions.remove(2)
        time.sleep(0.2)
        versions.add(2)
        eventually(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})


def test_manager_empty_base_path_unloads_everything(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        versions.remove(1)
        eventually(lambda: states(manager) == {1: "END"})
        with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(m\)"):
            manager.use("m")
        versions.add(1)
        eventually(lambda: states(manager) == {1: "AVAILABLE"})


def test_manager_missing_base_path_changes_nothing(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        versions.base.rename(versions.base.with_name("elsewhere"))
        time.sleep(0.3)
        assert states(manager) == {1: "AVAILABLE"}
        assert predict(manager) == 1


def test_manager_request_in_flight_ends_on_its_version(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        with manager.use("m") as servable:
            versions.add(2)
            eventually(lambda: states(manager) == {1: "UNLOADING", 2: "AVAILABLE"})
            time.sleep(0.2)
            assert states(manager)[1] == "UNLOADING"
            assert servable.version == 1
            assert len(servable.predict("raw", {})["predictions"]) == 1
        eventually(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})


def test_manager_requests_never_fail_while_versions_come_and_go(versions: VersionsOnDisk) -> None:
    versions.add(1)
    failures: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                predict(manager)
            except Exception as error:
                failures.append(error)

    with managing(config(versions.base)) as manager:
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(2, 8):
            versions.add(number, without("variables") if number == 5 else lambda path: None)
            eventually(lambda number=number: states(manager).get(number) in ("AVAILABLE", "END"))  # type: ignore[misc]
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_manager_label_waits_for_its_version(versions: VersionsOnDisk) -> None:
    versions.add(1)
    source = Switching(Wanted({1: versions.base / "1"}, {"stable": 1}, default=1))
    with managing(source) as manager:
        broken = versions.add(2, without("saved_model.pb"))
        newer = versions.add(3)
        source.wanted = Wanted({2: broken, 3: newer}, {"stable": 2, "canary": 3}, default=2)
        eventually(lambda: states(manager) == {1: "AVAILABLE", 2: "END", 3: "AVAILABLE"})
        assert predict(manager, label="stable") == 1
        assert predict(manager, label="canary") == 3
        assert predict(manager) == 1
        source.wanted = Wanted({3: newer}, {"stable": 3}, default=3)
        eventually(lambda: states(manager)[1] == "END")
        assert predict(manager, label="stable") == 3
        with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
            manager.use("m", label="canary")


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


def test_manager_reload_polls_the_new_source_once(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base), poll_seconds=0.0) as manager:
        manager.reload(Once({"n": Wanted({2: versions.add(2)})}))
        assert [status.version for status in manager.status("n")] == [2]


def test_manager_source_that_raises_changes_nothing(versions: VersionsOnDisk) -> None:
    versions.add(1)
    source = Switching(Wanted({1: versions.base / "1"}))
    with managing(source) as manager:
        source.wanted = OSError("the store is away")
        time.sleep(0.2)
        assert predict(manager) == 1
        source.wanted = Wanted({2: versions.add(2)})
        eventually(lambda: predict(manager) == 2)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda versions: versions.base.rmdir(), "not a directory"),
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


def test_manager_of_a_version_with_several_names_takes_the_one_without_zeros(versions: VersionsOnDisk) -> None:
    for name in ("001", "01"):
        versions.add(2, without("saved_model.pb")).rename(versions.base / name)
    for name in ("1", str(2**63), "9" * 30):
        versions.add(2).rename(versions.base / name)
    with managing(config(versions.base)) as manager:
        assert predict(manager) == 1
        assert states(manager) == {1: "AVAILABLE"}


def test_warm_up_too_many_records_fail_the_load(versions: VersionsOnDisk) -> None:
    def damage(path: Path) -> None:
        warmup = path / "assets.extra/tf_serving_warmup_requests"
        replace(warmup, warmup.read_bytes() * 1001)

    with pytest.raises(ServingError, match=r"Number of warmup records exceeds the maximum \(1000\)"):
        load_servable("m", 1, versions.add(1, damage))


def test_multi_inference_of_a_warm_up_may_name_the_model_otherwise(versions: VersionsOnDisk) -> None:
    request = inference_pb2.MultiInferenceRequest()
    request.tasks.add(model_spec={"name": "in training", "signature_name": "classify"}, method_name=CLASSIFY_METHOD)
    request.input.example_list.examples.add()
    servable = load_servable("m", 1, versions.add(1))
    (result,) = multi_inference(servable, request).results
    servable.close()

    assert result.model_spec.name == "m"
    assert len(result.classification_result.classifications) == 1


def test_states_have_the_numbers_of_the_protocol() -> None:
    from serving.protocol.protos import get_model_status_pb2

    numbers = dict(get_model_status_pb2.ModelVersionStatus.State.items())
    del numbers["UNKNOWN"]
    assert {state.name: int(state) for state in State} == numbers


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


class Switching:
    """A source that wants what a test says."""

    def __init__(self, wanted: Wanted | Exception) -> None:
        self.wanted = wanted

    def poll(self) -> dict[str, Wanted | None]:
        if isinstance(self.wanted, Exception):
            raise self.wanted
        return {"m": self.wanted}

    def describe(self, model: str) -> str:
        return f"the test wants nothing of {model}"


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
