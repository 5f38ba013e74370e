"""Where the suite rolls out: the fake API server, or the cluster that SLIPWAY_TEST_CLUSTER names."""

from __future__ import annotations

import copy
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import yaml

from delivery.manifests import render_overlay
from serving.manifests import Object
from serving.rollout.cluster import Cluster
from serving.rollout.connection import timed_client
from serving.rollout.engine import Rollout
from serving.rollout.policy import RolloutPolicy
from slipway.evaluation.golden import Golden, read_golden, write_golden
from slipway.stores.model_store import LocalModelStore
from tests.fakes.kubernetes.controller import Crash, Fate
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import DIGEST, NAMESPACE, POLICY, open_world
from tests.model_files import provenance, write_model

LABEL = {"slipway/test": "true"}


_MADE = [
    ("apps/v1", "Deployment"), ("v1", "ConfigMap"), ("v1", "Service"), ("v1", "ServiceAccount"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"), ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"), ("coordination.k8s.io/v1", "Lease"), ("v1", "ResourceQuota"),
]  # fmt: skip


@dataclass
class Trouble:
    """What goes wrong with a canary: the change that makes it so in a cluster, and what the fake is told instead."""

    change: Callable[[Place], None]
    fate: Fate
    crash: Crash = field(default_factory=Crash)


class Place(Protocol):
    """A cluster with a store: `good` versions, one that answers `wrong`ly, one that is `broken`."""

    namespace: str
    store: LocalModelStore
    objects: list[Object]
    policy: RolloutPolicy
    good: tuple[int, int]
    wrong: int
    broken: int
    said: list[str]

    def cluster(self, namespace: str = "") -> Cluster: ...

    def rollout(self, cluster: Cluster) -> Rollout: ...

    def meet(self, trouble: Trouble) -> None: ...

    def serve_wrong(self) -> None:
        """The next canary is that of the version that answers wrongly."""

    def edit(self, name: str, manager: str, **spec: Any) -> None:
        """Changes a Deployment as somebody else."""

    def create(self, made: Object) -> None:
        """Makes an object, where there is a cluster that heeds it."""


def wanted(place: Place) -> Iterator[Object]:
    """The containers of the overlay's model servers."""
    for each in place.objects:
        if each["kind"] == "Deployment":
            yield each["spec"]["template"]["spec"]["containers"][0]


@dataclass
class _Common:
    namespace: str
    store: LocalModelStore
    objects: list[Object]
    policy: RolloutPolicy
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        first, second, self.wrong, self.broken = (version.number for version in self.store.versions("taxi"))
        self.good = first, second


class FakePlace(_Common):
    """The fake API server; it runs no pods, and is told what becomes of them."""

    def __init__(self, folder: Path, opened: Any) -> None:
        super().__init__(NAMESPACE, opened.store, _overlay(NAMESPACE, DIGEST), POLICY)
        self._world = opened

    def cluster(self, namespace: str = "") -> Cluster:
        if namespace:
            self._world.api.namespace = "missing"
        return Cluster(namespace or self.namespace, attempts=3, timeout=(1, 1), pause=lambda _: None)

    def rollout(self, cluster: Cluster) -> Rollout:
        return Rollout(cluster, self.store, lambda: self.objects, "taxi", self.policy, by="suite", say=self.said.append,
                       pause=self._world.pause, lease_seconds=5)  # fmt: skip

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


class RealPlace(_Common):
    """A namespace of a real cluster."""

    def __init__(self, context: str, namespace: str, image: str, client: Any, folder: Path) -> None:
        policy = RolloutPolicy(
            models_path=f"/models/{folder.name}", ready_seconds=180, window_seconds=0, traffic_seconds=0
        )
        super().__init__(namespace, LocalModelStore(folder), _overlay(namespace, image), policy)
        self._context = context
        self._client = client

    def cluster(self, namespace: str = "") -> Cluster:
        return Cluster(namespace or self.namespace, self._context)

    def rollout(self, cluster: Cluster) -> Rollout:
        return Rollout(cluster, self.store, lambda: self.objects, "taxi", self.policy, by="suite", say=self.said.append)

    def meet(self, trouble: Trouble) -> None:
        trouble.change(self)
        self.policy = self.policy.model_copy(update={"ready_seconds": 90})

    def serve_wrong(self) -> None: ...

    def edit(self, name: str, manager: str, **spec: Any) -> None:
        resource = self._client.resources.get(api_version="apps/v1", kind="Deployment")
        resource.patch(name=name, namespace=self.namespace, body={"spec": spec}, field_manager=manager,
                       content_type="application/strategic-merge-patch+json")  # fmt: skip

    def create(self, made: Object) -> None:
        resource = self._client.resources.get(api_version=made["apiVersion"], kind=made["kind"])
        resource.create(namespace=self.namespace, body=made)


@contextmanager
def open_fake(folder: Path) -> Iterator[Place]:
    """The fake; the suite is proven against it where there is no cluster."""
    with open_world(folder, _fake_versions(folder / "versions")) as world:
        world.servers.new_pod = lambda: Pod()
        yield FakePlace(folder, world)


@contextmanager
def open_real(context: str, versions: Path) -> Iterator[Place]:
    """A namespace of the cluster, made for the case unless SLIPWAY_TEST_NAMESPACE names one that is labelled for it."""
    from kubernetes.dynamic import DynamicClient

    folder = _shared() / f"case-{secrets.token_hex(4)}"
    shutil.copytree(versions, folder)
    for path in [folder, *folder.rglob("*")]:  # pods run as another user
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    api = timed_client(context, (5, 60), folder)
    client = DynamicClient(api)
    namespaces = client.resources.get(api_version="v1", kind="Namespace")
    given = os.environ.get("SLIPWAY_TEST_NAMESPACE", "")
    namespace = given or f"slipway-test-{secrets.token_hex(4)}"
    if given:
        require_label(given, namespaces.get(name=given).to_dict())
    else:
        namespaces.create(body={"metadata": {"name": namespace, "labels": LABEL}})
    try:
        yield RealPlace(context, namespace, os.environ["SLIPWAY_TEST_IMAGE"], client, folder)
    finally:
        if given:
            _clear(client, namespace)
        else:
            namespaces.delete(name=namespace)
        api.close()
        shutil.rmtree(folder)


def require_label(name: str, found: Object) -> None:
    """Refuses a namespace that nobody gave to the suite, which deletes what it finds of Slipway's there."""
    labels = found["metadata"].get("labels") or {}
    if not labels.items() >= LABEL.items():
        raise RuntimeError(
            f"namespace {name} is not for tests. If what Slipway has in it may be deleted: "
            f"kubectl label namespace {name} slipway/test=true"
        )


def real_versions(folder: Path) -> Path:
    """The versions as real SavedModels."""
    from tests.served_models import TinyModel, write_saved_model

    store = LocalModelStore(folder / "store")
    for number in range(3):
        model = TinyModel()
        model.weights.assign([0.3, -0.2, 0.1 + number])
        saved = write_saved_model(folder / f"model-{number}", model)
        if number == 2:
            write_golden(read_golden(folder / "model-0"), saved)
        store.push(saved, provenance())
    broken = write_saved_model(folder / "broken", TinyModel())
    (broken / "saved_model.pb").write_bytes(b"not a graph")
    store.push(broken, provenance())
    return folder / "store"


def _fake_versions(folder: Path) -> Path:
    store = LocalModelStore(folder / "store")
    for seed in range(4):
        model = write_model(folder / f"model-{seed}", seed)
        write_golden(Golden.of([b"one", b"two"], [0.25, 0.75]), model)
        store.push(model, provenance())
    return folder / "store"


def _overlay(namespace: str, image: str) -> list[Object]:
    objects = copy.deepcopy(_rendered())
    for each in objects:
        each["metadata"]["namespace"] = namespace
        for container in each.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            container["image"] = image if "@" in image else f"tensorflow/serving@{image}"
    return objects


@cache
def _rendered() -> list[Object]:
    return list(yaml.safe_load_all(yaml.safe_dump_all(render_overlay(Path(__file__).parent / "overlay"))))


def _shared() -> Path:
    return Path(os.environ.get("SLIPWAY_TEST_FOLDER", "/tmp/slipway-test"))


def _clear(client: Any, namespace: str) -> None:
    for version, kind in _MADE:
        resource = client.resources.get(api_version=version, kind=kind)
        labels = "app.kubernetes.io/managed-by=slipway"
        resource.delete(namespace=namespace, label_selector=labels, body={"propagationPolicy": "Foreground"})
    pods = client.resources.get(api_version="v1", kind="Pod")
    for _ in range(120):
        if not pods.get(namespace=namespace, label_selector="app.kubernetes.io/part-of=slipway").items:
            return
        time.sleep(1)
