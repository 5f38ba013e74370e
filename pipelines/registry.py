"""The pipelines by name. Each file of this folder registers its own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pipelines
from slipway.errors import ConfigError
from slipway.lineage import Shows

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

    from pipelines.inputs import Inputs
    from pipelines.platform import TaskDefaults


@dataclass(frozen=True)
class Pipeline:
    """One pipeline.

    Attributes:
        name: What `--pipeline` and schedules call it.
        build: Makes the kfp pipeline for one platform. It has the parameter `run`, which goes to
            `TaskDefaults.recorded`.
        arguments: Values of all its other parameters.
        shows: What the records of its runs show.
    """

    name: str
    build: Callable[[TaskDefaults], BaseComponent]
    arguments: Callable[[Inputs], dict[str, Any]]
    shows: Shows


_REGISTERED: dict[str, Pipeline] = {}


def register(pipeline: Pipeline) -> None:
    """Makes a pipeline known by its name."""
    _REGISTERED[pipeline.name] = pipeline


def find_pipeline(name: str) -> Pipeline:
    """The pipeline of a name.

    Raises:
        ConfigError: there is none; the message lists the names.
    """
    for file in pkgutil.iter_modules(pipelines.__path__, f"{pipelines.__name__}."):
        importlib.import_module(file.name)
    if name not in _REGISTERED:
        raise ConfigError(f"there is no pipeline {name!r}; pipelines are {', '.join(sorted(_REGISTERED))}")
    return _REGISTERED[name]
