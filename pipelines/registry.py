"""The pipelines by name, and what each makes its arguments from. Each file of this folder registers its own."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pipelines
from slipway.compute import DistributionConfig
from slipway.data.beam import BeamRun
from slipway.errors import ConfigError
from slipway.lineage import Shows
from slipway.module_api import ModuleConfig
from slipway.stores.module_store import PublishedModule
from slipway.stores.storage import join
from slipway.targets import Target

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

    from pipelines.platform import TaskDefaults


@dataclass(frozen=True)
class Locations:
    """Where a target keeps what outlives a run: directories, or URIs of a bucket.

    `artifacts` are the roots of what steps leave, `sources` lists of files by digest, `data` snapshots, `monitoring`
    the windows that were watched and `tuning` the trials of searches, by model, `prepared` runs that steps may start
    and `arguments` what runs were given, both by digest, `console` what `slipway ui` keeps to be fast, `batch`
    predictions on their way to a table of BigQuery, `beam` flags of Beam's engines and what they write meanwhile.
    """

    artifacts: tuple[str, ...]
    modules: str
    store: str
    runs: str
    sources: str
    data: str
    arguments: str
    checkpoints: str
    monitoring: str
    prepared: str
    tuning: str
    console: str
    batch: str
    beam: str

    @classmethod
    def under(cls, home: str, *artifacts: str) -> Self:
        """Folders of one home; `artifacts` are roots beside its own."""
        folders = {"store": "models"}
        names = [folders.get(field.name, field.name) for field in fields(cls)[1:]]
        return cls((join(home, "artifacts"), *artifacts), *(join(home, name) for name in names))


@dataclass(frozen=True)
class Platform:
    """What the settings say about the platform of a run.

    Attributes:
        target: The platform.
        image: Image of the tasks.
        gpu_image: Image of those with an accelerator; empty if none has one.
        accelerators: What steps ask for, as `slipway.compute.accelerators_of` tells it.
        beam: How Apache Beam runs.
        distribution: Strategy of `tf.distribute`.
        engine: Engine of the evaluation.
        rollout: The parameter `rollout` of rollout_model; nothing is rolled out if empty.
        notifications: `slipway.runs.notifications.config.Notifications`; nobody is notified if empty.
        request_log: The log of served requests; empty if the settings name none.
        tracking: `slipway.runs.tracking.config.Tracked`; runs are not tracked if empty.
        page: Address of a run in the UI, with `slipway.runs.naming.JOB` in place of its id.
    """

    target: Target
    image: str
    gpu_image: str = ""
    accelerators: Mapping[str, str] = field(default_factory=dict)
    beam: BeamRun = field(default_factory=BeamRun)
    distribution: DistributionConfig = field(default_factory=DistributionConfig)
    engine: str = "vectorised"
    rollout: dict[str, Any] = field(default_factory=dict)
    notifications: dict[str, Any] = field(default_factory=dict)
    request_log: str = ""
    tracking: dict[str, Any] = field(default_factory=dict)
    page: str = ""


@dataclass(frozen=True)
class Inputs:
    """What a pipeline makes its arguments from; paths of the module's configuration are relative to `project`.

    `prepared_uri` is the prepared run of the pipeline that this one `starts`; empty on this machine.
    """

    module: PublishedModule
    config: ModuleConfig
    data_uri: str
    locations: Locations
    platform: Platform
    project: Path
    prepared_uri: str = ""

    @property
    def features(self) -> str:
        """The parameter `features` of the steps that resolve data, as text, so that numbers keep their types."""
        from pydantic import TypeAdapter

        from slipway.data.examples.joins import joins_of
        from slipway.data.examples.source import Join

        return TypeAdapter(list[Join]).dump_json(joins_of(self.config, self.project)).decode()


@dataclass(frozen=True)
class Pipeline:
    """One pipeline.

    Attributes:
        name: What `--pipeline` and schedules call it.
        build: Makes the kfp pipeline for one platform and the values of `arguments`, and of `run`, which goes to
            `TaskDefaults.recorded`. Its parameters are fields of the platform's form, with those values as defaults;
            all other values are constants.
        arguments: What its steps are given, by name.
        shows: What the records of its runs show.
        starts: Name of a pipeline that its runs may start on a cluster.
    """

    name: str
    build: Callable[[TaskDefaults, Mapping[str, Any]], BaseComponent]
    arguments: Callable[[Inputs], dict[str, Any]]
    shows: Shows
    starts: str = ""


_IN_A_STEP = "_KFP_RUNTIME"
_REGISTERED: dict[str, Pipeline] = {}


def register(pipeline: Pipeline) -> None:
    """Makes a pipeline known by its name."""
    _REGISTERED[pipeline.name] = pipeline


def find_pipeline(name: str) -> Pipeline:
    """The pipeline of a name; a ConfigError lists the names if there is none."""
    _import_kfp()
    for file in pkgutil.iter_modules(pipelines.__path__, f"{pipelines.__name__}."):
        importlib.import_module(file.name)
    if name not in _REGISTERED:
        raise ConfigError(f"there is no pipeline {name!r}; pipelines are {', '.join(sorted(_REGISTERED))}")
    return _REGISTERED[name]


def _import_kfp() -> None:
    """Imports kfp without its client and Kubernetes', which take 0.3 s and are used by nothing here.

    kfp leaves them out if it is told that it runs in a step. What is imported of it later (`dsl`, `local`) is complete.
    """
    if _IN_A_STEP not in os.environ:
        os.environ[_IN_A_STEP] = "true"
        importlib.import_module("kfp")
        del os.environ[_IN_A_STEP]
