"""A manager over a source, and what a test asks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serving.protocol.protos import model_server_config_pb2
from serving.server.config import ServerConfig
from serving.server.model_manager import ModelManager
from serving.server.model_sources import BasePaths, ModelSource
from serving.server.model_versions import State


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
