"""The objects that serve one model in one namespace: applied, read and deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serving.manifests import TRACK, Object, Track, for_version
from serving.rollout.cluster import Cluster
from serving.rollout.pods import Failure, living_pods, past_of, served_version, wait_ready
from slipway.errors import ConfigError

_PODS_GONE_SECONDS = 60


def namespace_of(objects: list[Object]) -> str:
    """The namespace of an overlay; raises `ConfigError` if there is none, or there are several."""
    names = {str(each["metadata"].get("namespace", "")) for each in objects}
    if len(names) != 1 or "" in names:
        found = ", ".join(sorted(names - {""})) or "none"
        raise ConfigError(f"an overlay is for one namespace, and this one names {found}: set `namespace:` in it")
    return names.pop()


@dataclass(frozen=True)
class Workload:
    """One model's objects, with the attributes of `Rollout`.

    Attributes:
        models_path: The model store, as pods see it.
        check: Called before each write; raises if the rollout has lost its lease.
    """

    cluster: Cluster
    objects: list[Object]
    model: str
    models_path: str
    force: bool
    pause: Callable[[float], None]
    check: Callable[[], None]

    def deployment_name(self, track: Track) -> str:
        """Name of a track's Deployment."""
        return str(self._wanted(track, 1)[-1]["metadata"]["name"])

    def deployment(self, track: Track) -> Object | None:
        """A track's Deployment, if there is one."""
        return self.cluster.get("Deployment", self.deployment_name(track))

    def stable_version(self) -> int | None:
        """The version that the stable Deployment serves; None without one."""
        stable = self.deployment("stable")
        return served_version(stable) if stable else None

    def status(self, track: Track) -> dict[str, Any] | None:
        """Version and replicas of a track's Deployment; None without one."""
        found = self.deployment(track)
        if found is None:
            return None
        status = found.get("status", {})
        return {
            "version": served_version(found),
            "replicas": found["spec"].get("replicas", 1),
            "updated": status.get("updatedReplicas", 0),
            "ready": status.get("readyReplicas", 0),
        }

    def serve(self, track: Track, number: int, seconds: float, replicas: int | None = None) -> Failure | None:
        """Applies a track's objects for a version, and waits until its pods are ready, as `wait_ready` does."""
        name = self.deployment_name(track)
        past = past_of(self.cluster, name)
        self.apply(track, number, replicas)
        return wait_ready(self.cluster, name, seconds, self.pause, past)

    def apply(self, track: Track, number: int, replicas: int | None = None, *, only_shared: bool = False) -> None:
        """Applies a track's objects for a version; or only those of no track, as Service, account, configuration."""
        for each in self._wanted(track, number, replicas):
            if not only_shared or TRACK not in each["metadata"].get("labels", {}):
                self.check()
                self.cluster.apply(each, force=self.force)

    def would_change_pods(self, track: Track, number: int) -> bool:
        """Whether `apply` would change a track's Deployment."""
        return self.cluster.would_change(self._wanted(track, number)[-1], force=self.force)

    def remove(self, track: Track) -> None:
        """Deletes a track's Deployment and waits until its pods are gone, so that no later check meets them."""
        found = self.deployment(track)
        if found is None:
            return
        self.check()
        self.cluster.delete("Deployment", found["metadata"]["name"])
        for _ in range(_PODS_GONE_SECONDS):
            if not living_pods(self.cluster, found):
                return
            self.pause(1.0)

    def _wanted(self, track: Track, number: int, replicas: int | None = None) -> list[Object]:
        path = f"{self.models_path}/{self.model}"
        made = for_version(self.objects, self.model, number, track=track, model_base_path=path, replicas=replicas)
        # The Deployment comes last, when all that its pods need is there.
        return sorted(made, key=lambda each: bool(each["kind"] == "Deployment"))
