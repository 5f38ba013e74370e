"""What a case has in its hands: a place to roll out in, which is a real cluster or the fake API server."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import yaml

from delivery.manifests import render_overlay
from serving.manifests import Object
from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.lease import STATE, lease_name
from serving.rollout.policy import RolloutPolicy
from slipway.stores.model_store import ModelStore
from tests.fakes.kubernetes.controller import Crash, Fate


@dataclass
class Trouble:
    """What goes wrong with a canary: the change that makes it so in a cluster, and what the fake is told instead."""

    change: Callable[[Place], None]
    fate: Fate
    crash: Crash = field(default_factory=Crash)


class Place(Protocol):
    """A cluster with a store: `good` versions, one that answers `wrong`ly, one that is `broken`."""

    namespace: str
    store: ModelStore
    objects: list[Object]
    policy: RolloutPolicy
    good: tuple[int, int]
    wrong: int
    broken: int
    said: list[str]

    @property
    def context(self) -> str:
        """The kubeconfig's context; empty for the current one."""

    def cluster(self, namespace: str = "") -> Cluster: ...

    def rollout(self, cluster: Cluster, **changes: Any) -> Rollout:
        """Rollouts in it, with changes of their attributes."""

    def meet(self, trouble: Trouble) -> None: ...

    def serve_wrong(self) -> None:
        """The next canary is that of the version that answers wrongly."""

    def edit(self, name: str, manager: str, **spec: Any) -> None:
        """Changes a Deployment as somebody else."""

    def create(self, made: Object) -> None:
        """Makes an object, where there is a cluster that heeds it."""

    def find(self, kind: str) -> list[Object]:
        """Objects of a kind that Slipway made, or that were made for them."""

    def remove(self, kind: str, name: str) -> None:
        """Deletes an object as somebody else."""

    def terminating(self) -> AbstractContextManager[str]:
        """A namespace that is being deleted, and is not gone yet."""


def record(place: Place, **changes: Any) -> None:
    """Changes the recorded state, as a process leaves it that died."""
    with place.cluster() as cluster:
        lease = cluster.get("Lease", lease_name("taxi"))
        assert lease
        annotations = lease["metadata"]["annotations"]
        annotations[STATE] = json.dumps(json.loads(annotations[STATE]) | changes)
        cluster.replace(lease)


def move(place: Place, namespace: str) -> None:
    """The overlay is for another namespace."""
    for each in place.objects:
        each["metadata"]["namespace"] = namespace


def wanted(place: Place) -> Iterator[Object]:
    """The containers of the overlay's model servers."""
    for each in place.objects:
        if each["kind"] == "Deployment":
            yield each["spec"]["template"]["spec"]["containers"][0]


@dataclass
class AnyPlace:
    """What all places have; the versions are those of the store, in this order."""

    namespace: str
    store: ModelStore
    objects: list[Object]
    policy: RolloutPolicy
    said: list[str] = field(default_factory=list)

    context = ""

    def __post_init__(self) -> None:
        first, second, self.wrong, self.broken = (version.number for version in self.store.versions("taxi"))
        self.good = first, second

    def make_rollout(self, cluster: Cluster, **changes: Any) -> Rollout:
        """Rollouts with changes of their attributes."""
        its: dict[str, Any] = {"by": "suite", "say": self.said.append} | changes
        return Rollout(cluster, self.store, lambda: self.objects, "taxi", self.policy, **its)


def overlay(namespace: str, image: str) -> list[Object]:
    """The suite's overlay for a namespace, with an image by digest."""
    objects = copy.deepcopy(_rendered())
    for each in objects:
        each["metadata"]["namespace"] = namespace
        for container in each.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            container["image"] = image if "@" in image else f"tensorflow/serving@{image}"
    return objects


@cache
def _rendered() -> list[Object]:
    return list(yaml.safe_load_all(yaml.safe_dump_all(render_overlay(Path(__file__).parent / "overlay"))))
