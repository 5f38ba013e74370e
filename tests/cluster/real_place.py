"""A namespace of the cluster that SLIPWAY_TEST_CLUSTER names as a place."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.manifests import Object
from serving.rollout.cluster import Cluster
from serving.rollout.connection import timed_client
from serving.rollout.engine import Rollout
from serving.rollout.policy import RolloutPolicy
from slipway.stores.model_store import LocalModelStore
from tests.cluster.places import AnyPlace, Place, Trouble, overlay
from tests.model_files import provenance

LABEL = {"slipway/test": "true"}

_MADE = [
    ("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "ConfigMap"), ("v1", "Service"),
    ("v1", "ServiceAccount"), ("autoscaling/v2", "HorizontalPodAutoscaler"), ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"), ("coordination.k8s.io/v1", "Lease"), ("v1", "ResourceQuota"),
]  # fmt: skip


class RealPlace(AnyPlace):
    """A namespace of a real cluster."""

    def __init__(self, context: str, namespace: str, image: str, client: Any, folder: Path) -> None:
        policy = RolloutPolicy(
            models_path=f"/models/{folder.name}/models", ready_seconds=180, window_seconds=0, traffic_seconds=0
        )
        super().__init__(namespace, LocalModelStore(folder / "models"), overlay(namespace, image), policy)
        self.context = context
        self._client = client

    def cluster(self, namespace: str = "") -> Cluster:
        return Cluster(namespace or self.namespace, self.context)

    def rollout(self, cluster: Cluster, **changes: Any) -> Rollout:
        return self.make_rollout(cluster, **changes)

    def meet(self, trouble: Trouble) -> None:
        trouble.change(self)
        self.policy = self.policy.model_copy(update={"ready_seconds": 90})

    def serve_wrong(self) -> None: ...

    def edit(self, name: str, manager: str, **spec: Any) -> None:
        self._resource("Deployment").patch(
            name=name, namespace=self.namespace, body={"spec": spec}, field_manager=manager,
            content_type="application/strategic-merge-patch+json",
        )  # fmt: skip

    def create(self, made: Object) -> None:
        self._resource(made["kind"]).create(namespace=self.namespace, body=made)

    def find(self, kind: str) -> list[Object]:
        time.sleep(10)  # the garbage collector takes a moment
        labels = "app.kubernetes.io/part-of=slipway"
        found = self._resource(kind).get(namespace=self.namespace, label_selector=labels)
        return [each.to_dict() for each in found.items]

    def remove(self, kind: str, name: str) -> None:
        self._resource(kind).delete(name=name, namespace=self.namespace)

    @contextmanager
    def terminating(self) -> Iterator[str]:
        if os.environ.get("SLIPWAY_TEST_NAMESPACE"):
            pytest.skip("the account may make no namespaces")
        name, kept = f"slipway-test-{secrets.token_hex(4)}", {"name": "kept", "finalizers": ["slipway.test/kept"]}
        namespaces, maps = self._resource("Namespace"), self._resource("ConfigMap")
        namespaces.create(body={"metadata": {"name": name, "labels": LABEL}})
        maps.create(namespace=name, body={"metadata": kept})
        namespaces.delete(name=name)
        try:
            yield name
        finally:
            maps.patch(name="kept", namespace=name, body={"metadata": {"finalizers": None}},
                       content_type="application/merge-patch+json")  # fmt: skip

    def _resource(self, kind: str) -> Any:
        version = next((version for version, its in _MADE if its == kind), "v1")
        return self._client.resources.get(api_version=version, kind=kind)


@contextmanager
def open_real(context: str, versions: Path) -> Iterator[Place]:
    """A namespace of the cluster, made for the case unless SLIPWAY_TEST_NAMESPACE names one that is labelled for it."""
    from kubernetes.dynamic import DynamicClient

    folder = _shared() / f"case-{secrets.token_hex(4)}"
    shutil.copytree(versions, folder / "models")
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
    from tests.served_models import TinyModel, push_three, write_saved_model

    store = push_three(folder)
    broken = write_saved_model(folder / "broken", TinyModel())
    (broken / "saved_model.pb").write_bytes(b"not a graph")
    store.push(broken, provenance())
    return folder / "store"


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
