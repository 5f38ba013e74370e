"""What a rollout meets: a cluster that grants the runner's Role, an overlay, a store with three versions, servers."""

from __future__ import annotations

import atexit
import copy
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import pytest
import yaml

from delivery.manifests import render_overlay
from serving.manifests import Object
from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.policy import RolloutPolicy
from slipway.evaluation.golden import Golden, write_golden
from slipway.stores.model_store import LocalModelStore
from tests.fakes.kubernetes.model_server import ModelServers, Pod
from tests.fakes.kubernetes.server import KubernetesApi
from tests.model_files import provenance, write_model

PROJECT = Path(__file__).parents[3]
NAMESPACE = "slipway-staging"
DIGEST = "sha256:" + "a" * 64
POLICY = RolloutPolicy(
    models_path="gs://bucket/models",
    ready_seconds=20,
    window_seconds=0,
    traffic_seconds=0,
    min_requests=50,
    max_p99_ratio=1.5,
)


def short_pause(seconds: float) -> None:
    """Instead of the second that rollouts wait from one look at the cluster to the next."""
    time.sleep(min(seconds, 0.01))


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
        return Rollout(cluster, self.store, lambda: self.objects, "taxi", self.policy, by="ann",
                       say=self.said.append, pause=self.pause, force=force, lease_seconds=5)  # fmt: skip

    def start(self, number: int) -> None:
        with self.cluster() as cluster:
            self.rollout(cluster).start(number)

    def pause(self, seconds: float) -> None:
        self.on_pause()
        short_pause(seconds)

    def deployment(self, name: str) -> Object | None:
        return next((each for each in self.api.objects.list("Deployment") if each["metadata"]["name"] == name), None)

    def expire_lease(self) -> None:
        """Lets the lease of a process that died run out."""
        lease = self.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
        lease["spec"]["leaseDurationSeconds"] = 0
        self.api.objects.replace(lease, "clock")

    @property
    def stable(self) -> int | None:
        found = self.deployment("taxi-serving")
        return int(found["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"]) if found else None


@cache
def staging() -> list[Object]:
    """The overlay of staging, with its placeholders filled in."""
    text = yaml.safe_dump_all(render_overlay(PROJECT / "manifests" / "overlays" / "staging"))
    return list(yaml.safe_load_all(text.replace("sha256:" + 64 * "0", DIGEST).replace("PROJECT-staging", "staging")))


@cache
def three_versions() -> Path:
    """A store with three candidates."""
    folder = Path(tempfile.mkdtemp(prefix="slipway-three-versions-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store = LocalModelStore(folder / "store")
    for seed in (1, 2, 3):
        model = write_model(folder / f"model-{seed}", seed)
        write_golden(Golden.of([b"one", b"two"], [0.25, 0.75]), model)
        store.push(model, provenance())
    return folder / "store"


@contextmanager
def open_staging(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[World]:
    """A home in a folder with three versions, and an overlay of staging that is filled in, for commands."""
    overlay = folder / "overlay"
    overlay.mkdir()
    account = {"op": "replace", "path": "/metadata/annotations/iam.gke.io~1gcp-service-account", "value": "a@p.iam"}
    kustomization = {
        "resources": [os.path.relpath(PROJECT / "manifests" / "overlays" / "staging", overlay)],
        "images": [{"name": "tensorflow/serving", "digest": DIGEST}],
        "patches": [{"target": {"kind": "ServiceAccount"}, "patch": yaml.safe_dump([account])}],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    patch.setenv("SLIPWAY_HOME", str(folder))
    patch.setenv("SLIPWAY_SERVING__OVERLAY", str(overlay))
    for name, value in (("WINDOW_SECONDS", 0), ("TRAFFIC_SECONDS", 0), ("READY_SECONDS", 20), ("MIN_REQUESTS", 50)):
        patch.setenv(f"SLIPWAY_SERVING__{name}", str(value))
    patch.setenv("SLIPWAY_SERVING__MODELS_PATH", "gs://bucket/models")
    impatient = partial(Rollout, pause=lambda seconds: time.sleep(min(seconds, 0.02)))
    patch.setattr("delivery.rollout.Rollout", impatient)
    with open_world(folder) as opened:
        yield opened


@contextmanager
def open_world(folder: Path, versions_of: Path | None = None) -> Iterator[World]:
    """A cluster whose kubeconfig is the current one, with the rights of the runner's Role; a copy of a store."""
    shutil.copytree(versions_of or three_versions(), folder / "models")
    store = LocalModelStore(folder / "models")
    versions = [version.number for version in store.versions("taxi")]
    role = yaml.safe_load((PROJECT / "manifests/rollout-access/base/role.yaml").read_text())
    servers = ModelServers("taxi")
    servers.new_pod = lambda: Pod(requests_each_reading=100)
    with KubernetesApi(servers.address, role) as api, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(api.write_kubeconfig(folder / "kubeconfig")))
        patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        patch.setattr("serving.rollout.engine.Rollout", partial(Rollout, pause=short_pause))
        yield World(api, servers, store, copy.deepcopy(staging()), versions)
    servers.stop()
