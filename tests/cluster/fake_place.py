"""The fake API server as a place; the suite is proven against it where there is no cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.manifests import Object
from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from slipway.evaluation.golden import Golden, write_golden
from slipway.stores.model_store import LocalModelStore
from tests.cluster.places import AnyPlace, Place, Trouble, overlay
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import DIGEST, NAMESPACE, POLICY, World, open_world
from tests.model_files import provenance, write_model


class FakePlace(AnyPlace):
    """The fake API server; it runs no pods, and is told what becomes of them."""

    def __init__(self, opened: World) -> None:
        super().__init__(NAMESPACE, opened.store, overlay(NAMESPACE, DIGEST), POLICY)
        self._world = opened

    def cluster(self, namespace: str = "") -> Cluster:
        if namespace:
            self._world.api.namespace = "missing"
        return Cluster(namespace or self.namespace, attempts=3, timeout=(10, 10), pause=lambda _: None)

    def rollout(self, cluster: Cluster, **changes: Any) -> Rollout:
        return self.make_rollout(cluster, pause=self._world.pause, lease_seconds=5, **changes)

    def meet(self, trouble: Trouble) -> None:
        trouble.change(self)
        self.policy = self.policy.model_copy(update={"ready_seconds": 1})
        self._world.api.controller.crash = trouble.crash
        self._world.api.fates["taxi-serving-canary"] = trouble.fate

    def serve_wrong(self) -> None:
        self._world.servers.new_pod = lambda: Pod(predictions=[0.0, 0.0])

    def edit(self, name: str, manager: str, **spec: Any) -> None:
        self._world.api.objects.edit("Deployment", self.namespace, name, manager, **spec)

    def create(self, made: Object) -> None: ...

    def find(self, kind: str) -> list[Object]:
        return self._world.api.objects.list(kind)

    def remove(self, kind: str, name: str) -> None:
        self._world.api.objects.delete(kind, self.namespace, name)

    @contextmanager
    def terminating(self) -> Iterator[str]:
        self._world.api.namespace = "terminating"
        yield self.namespace


@contextmanager
def open_fake(folder: Path) -> Iterator[Place]:
    """The fake, with files in place of models."""
    with open_world(folder, _fake_versions(folder / "versions")) as world:
        world.servers.new_pod = lambda: Pod()
        yield FakePlace(world)


def _fake_versions(folder: Path) -> Path:
    store = LocalModelStore(folder / "store")
    for seed in range(4):
        model = write_model(folder / f"model-{seed}", seed)
        write_golden(Golden.of([b"one", b"two"], [0.25, 0.75]), model)
        store.push(model, provenance())
    return folder / "store"
