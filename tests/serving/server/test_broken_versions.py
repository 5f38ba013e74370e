"""Versions that cannot be loaded: what is served meanwhile, and when they are tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving.protocol.errors import ServingError
from serving.protocol.protos import inference_pb2
from serving.protocol.signatures import CLASSIFY_METHOD
from serving.server import model_manager
from serving.server.config import ServerConfig
from serving.server.inference import multi_inference
from serving.server.model_manager import ModelManager
from serving.server.warmup import load_servable
from tests.serving.server.managing import config, managing, predict, states
from tests.serving.server.versions_on_disk import VersionsOnDisk, cut, replace, without
from tests.serving.server.waiting import eventually

DATA = "variables/variables.data-00000-of-00001"


@pytest.mark.parametrize(
    "damage",
    [
        without("saved_model.pb"),
        pytest.param(without(DATA), marks=pytest.mark.slow),
        cut("saved_model.pb"),
        cut(DATA),
        pytest.param(cut("variables/variables.index"), marks=pytest.mark.slow),
        cut("assets.extra/tf_serving_warmup_requests"),
        # These two load, and fail with the first request: that of the warm-up.
        pytest.param(without("variables"), marks=pytest.mark.slow),
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
        config(versions.base), ServerConfig(poll_seconds=0.02, max_load_retries=2, retry_seconds=0.05)
    )
    manager.start()
    versions.add(2, without("saved_model.pb"))
    eventually(lambda: states(manager).get(2) == "LOADING")
    eventually(lambda: states(manager).get(2) == "END")
    time.sleep(0.15)  # a fourth try would be due
    manager.stop()

    assert len(tries) == 3
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(tries))


def test_manager_broken_version_that_is_replaced_under_its_number_is_loaded(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        versions.add(2, without("saved_model.pb"))
        eventually(lambda: states(manager).get(2) == "END")
        versions.remove(2)
        time.sleep(0.08)
        versions.add(2)
        eventually(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})


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
