"""What a rollout meets: a cluster that grants the runner's Role, an overlay, a store with three versions, servers."""

from __future__ import annotations

import atexit
import copy
import json
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from delivery.manifests import render_overlay
from serving.manifests import Object
from serving.rollout.cluster import Cluster
from serving.rollout.engine import Rollout
from serving.rollout.lease import STATE
from serving.rollout.policy import RolloutPolicy
from slipway.errors import RolloutInconclusiveError
from slipway.evaluation.golden import Golden, write_golden
from slipway.stores.model_store import LocalModelStore, ModelStore
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
    store: ModelStore
    objects: list[Object]
    versions: list[int]
    policy: RolloutPolicy = POLICY
    said: list[str] = field(default_factory=list)
    on_pause: Callable[[], None] = lambda: None
    waits: int = 10  # seconds for an answer of the API server

    def cluster(self, attempts: int = 3) -> Cluster:
        return Cluster(NAMESPACE, attempts=attempts, timeout=(self.waits, self.waits), pause=lambda _: None)

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
def staging_that_fetches() -> list[Object]:
    """The overlay of staging, in which an init container fetches the version."""
    folder = _kept_folder()
    component = os.path.relpath(PROJECT / "manifests" / "components" / "fetch-model", folder)
    resources = [os.path.relpath(PROJECT / "manifests" / "overlays" / "staging", folder)]
    content = yaml.safe_dump({"resources": resources, "components": [component]})
    (folder / "kustomization.yaml").write_text(content)
    text = yaml.safe_dump_all(render_overlay(folder))
    return list(yaml.safe_load_all(text.replace("sha256:" + 64 * "0", DIGEST).replace("PROJECT-staging", "staging")))


def leave(world: World, **changes: Any) -> None:
    """Changes the recorded state, as a process leaves it that died."""
    lease = world.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
    state = json.loads(lease["metadata"]["annotations"][STATE]) | changes
    lease["metadata"]["annotations"][STATE] = json.dumps(state)
    world.api.objects.replace(lease, "OpenAPI-Generator")


class Snapshot(NamedTuple):
    """A world as it stood: its folder, the cluster's objects, and the servers' counters."""

    folder: Path
    objects: bytes
    pods: bytes


def write_overlay(folder: Path) -> Path:
    """Staging's overlay, filled in as the pages say."""
    folder.mkdir()
    account = {"op": "replace", "path": "/metadata/annotations/iam.gke.io~1gcp-service-account", "value": "a@p.iam"}
    kustomization = {
        "resources": [os.path.relpath(PROJECT / "manifests" / "overlays" / "staging", folder)],
        "images": [{"name": "tensorflow/serving", "digest": DIGEST}],
        "patches": [{"target": {"kind": "ServiceAccount"}, "patch": yaml.safe_dump([account])}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


@cache
def three_versions() -> Path:
    """A store with three candidates."""
    folder = _kept_folder()
    store = LocalModelStore(folder / "store")
    for seed in (1, 2, 3):
        model = write_model(folder / f"model-{seed}", seed)
        write_golden(Golden.of([b"one", b"two"], [0.25, 0.75]), model)
        store.push(model, provenance())
    return folder / "store"


@contextmanager
def open_staging(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[World]:
    """A home in a folder with three versions, and an overlay of staging that is filled in, for commands."""
    patch.setenv("SLIPWAY_HOME", str(folder))
    patch.setenv("SLIPWAY_REMOTE_HOME", "")  # a fork's settings may name one
    patch.setenv("SLIPWAY_SERVING__OVERLAY", str(write_overlay(folder / "overlay")))
    for name, value in (("WINDOW_SECONDS", 0), ("TRAFFIC_SECONDS", 0), ("READY_SECONDS", 20), ("MIN_REQUESTS", 50)):
        patch.setenv(f"SLIPWAY_SERVING__{name}", str(value))
    patch.setenv("SLIPWAY_SERVING__MODELS_PATH", "gs://bucket/models")
    impatient = partial(Rollout, pause=lambda seconds: time.sleep(min(seconds, 0.02)))
    patch.setattr("delivery.rollout.Rollout", impatient)
    with open_world(folder) as opened:
        yield opened


@contextmanager
def open_world(
    folder: Path,
    versions_of: Path | None = None,
    after: Callable[[World], None] | None = None,
    certificate: Path | None = None,
) -> Iterator[World]:
    """A cluster whose kubeconfig is the current one, with the rights of the runner's Role; a copy of a store.

    `after` was done in it; it is done once in a process, and what came of it is copied.
    """
    begun = _after(after) if after else None
    if begun:
        shutil.copytree(begun.folder, folder, dirs_exist_ok=True)
    else:
        shutil.copytree(versions_of or three_versions(), folder / "models")
    store = LocalModelStore(folder / "models")
    versions = [version.number for version in store.versions("taxi")]
    role = yaml.safe_load((PROJECT / "manifests/rollout-access/base/role.yaml").read_text())
    servers = ModelServers("taxi")
    servers.new_pod = lambda: Pod(requests_each_reading=100)
    api = KubernetesApi(servers.address, role, certificate)
    if begun:
        api.objects.restore(begun.objects)
        servers.pods = pickle.loads(begun.pods)
    with api, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(api.write_kubeconfig(folder / "kubeconfig")))
        patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        patch.setattr("serving.rollout.engine.Rollout", partial(Rollout, pause=short_pause))
        yield World(api, servers, store, copy.deepcopy(staging()), versions)
    servers.stop()


def first_served(world: World) -> None:
    """Version one is in production."""
    world.start(world.versions[0])


def two_served(world: World) -> None:
    """Version two is in production, after version one."""
    for number in world.versions[:2]:
        world.start(number)


def all_served(world: World) -> None:
    """Version three is in production, after one and two."""
    for number in world.versions:
        world.start(number)


def second_held(world: World) -> None:
    """Version one is in production, and the canary of version two waits for a decision."""
    world.start(world.versions[0])
    world.servers.new_pod = lambda: Pod()
    with pytest.raises(RolloutInconclusiveError):
        world.start(world.versions[1])


@cache
def _after(act: Callable[[World], None]) -> Snapshot:
    folder = _kept_folder()
    with open_world(folder) as world:
        act(world)
        for pod in world.api.objects.list("Pod"):
            world.servers.pod(pod["metadata"]["name"])  # what a test makes of new pods is those that come later
        return Snapshot(folder, world.api.objects.save(), pickle.dumps(world.servers.pods))


def _kept_folder() -> Path:
    """A folder for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix="slipway-world-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
