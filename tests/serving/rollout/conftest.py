"""A cluster with the runner's own rights, an overlay of the project's own, a store with two versions, model servers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from delivery.manifests import render_overlay
from serving.manifests import Object
from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.policy import RolloutPolicy
from slipway.golden import Golden, write_golden
from slipway.model_store import LocalModelStore
from tests.kubernetes_api.model_server import ModelServers, Pod
from tests.kubernetes_api.server import KubernetesApi
from tests.slipway.model_store.conftest import provenance, write_model

PROJECT = Path(__file__).parents[3]
NAMESPACE = "slipway-staging"
DIGEST = "sha256:" + "a" * 64
POLICY = RolloutPolicy(
    models_path="gs://bucket/models",
    ready_seconds=1,
    window_seconds=0,
    traffic_seconds=0,
    min_requests=50,
    max_p99_ratio=1.5,
)


@dataclass
class World:
    """What a test has in its hands."""

    api: KubernetesApi
    servers: ModelServers
    store: LocalModelStore
    objects: list[Object]
    versions: list[int]
    policy: RolloutPolicy = POLICY
    said: list[str] = field(default_factory=list)
    on_pause: Callable[[], None] = lambda: None

    def cluster(self, attempts: int = 3) -> Cluster:
        return Cluster(NAMESPACE, attempts=attempts, timeout=(1, 1), pause=lambda _: None)

    def rollout(self, cluster: Cluster, *, force: bool = False) -> Rollout:
        return Rollout(cluster, self.store, self.objects, "taxi", self.policy, by="ann",
                       say=self.said.append, pause=self.pause, force=force, lease_seconds=1)  # fmt: skip

    def start(self, number: int) -> None:
        with self.cluster() as cluster:
            self.rollout(cluster).start(number)

    def pause(self, seconds: float) -> None:
        self.on_pause()
        time.sleep(min(seconds, 0.01))

    def deployment(self, name: str) -> Object | None:
        return next((each for each in self.api.objects.list("Deployment") if each["metadata"]["name"] == name), None)

    @property
    def stable(self) -> int | None:
        found = self.deployment("taxi-serving")
        return int(found["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"]) if found else None


@pytest.fixture(scope="session")
def overlay() -> list[Object]:
    """Staging, with an image that has a digest."""
    objects = render_overlay(PROJECT / "manifests" / "overlays" / "staging")
    text = yaml.safe_dump_all(objects).replace("sha256:" + 64 * "0", DIGEST)
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="session")
def three_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three candidates."""
    folder = tmp_path_factory.mktemp("three-versions")
    store = LocalModelStore(folder / "store")
    for seed in (1, 2, 3):
        model = write_model(folder / f"model-{seed}", seed)
        write_golden(Golden.of([b"one", b"two"], [0.25, 0.75]), model)
        store.push(model, provenance())
    return folder / "store"


@pytest.fixture
def world(
    tmp_path: Path, overlay: list[Object], three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    shutil.copytree(three_versions, tmp_path / "store")
    store = LocalModelStore(tmp_path / "store")
    versions = [version.number for version in store.versions("taxi")]
    role = yaml.safe_load((PROJECT / "manifests/rollout-access/base/role.yaml").read_text())
    servers = ModelServers("taxi")
    servers.new_pod = lambda: Pod(requests_each_reading=100)
    with KubernetesApi(servers.address, role) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.write_kubeconfig(tmp_path / "kubeconfig")))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        yield World(api, servers, store, overlay, versions)
    servers.stop()
