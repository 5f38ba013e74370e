"""What a pipeline's arguments are made from: a module, its data, and the places and the platform of the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from slipway.module_api import ModuleConfig
from slipway.stores.module_store import PublishedModule
from slipway.stores.storage import join
from slipway.targets import Target


@dataclass(frozen=True)
class Locations:
    """Where a target keeps what outlives a run: directories or gs:// URIs. `sources` are lists of files by digest."""

    modules: str
    store: str
    runs: str
    sources: str
    checkpoints: str

    @classmethod
    def under(cls, home: str) -> Self:
        """Folders of one home."""
        return cls(*(join(home, name) for name in ("modules", "models", "runs", "sources", "checkpoints")))


@dataclass(frozen=True)
class Platform:
    """What the settings say about the platform of a run.

    Attributes:
        target: The platform.
        image: Image of all tasks.
        beam_options: Pipeline options of Apache Beam.
        strategy: Strategy of `tf.distribute`.
        engine: Engine of the evaluation.
        manifests_uri: The published overlay of the cluster that serves the models; nothing is rolled out without one.
        cluster: That cluster, as `serving.rollout.cluster.Cluster` takes it.
        rollout: `serving.rollout.policy.RolloutPolicy`.
        notifications: `slipway.runs.notifications.config.Notifications`; no one is notified without.
        page: Address of a run in the UI, with `slipway.runs.naming.JOB` in place of its id.
    """

    target: Target
    image: str
    beam_options: tuple[str, ...]
    strategy: str
    engine: str
    manifests_uri: str = ""
    cluster: str = ""
    rollout: dict[str, Any] = field(default_factory=dict)
    notifications: dict[str, Any] = field(default_factory=dict)
    page: str = ""


@dataclass(frozen=True)
class Inputs:
    """What a pipeline makes its arguments from."""

    module: PublishedModule
    config: ModuleConfig
    data_uri: str
    locations: Locations
    platform: Platform
