"""The objects that serve one model in one namespace: applied, read and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from serving.manifests import INSTANCE, TRACK, Object, Track, deployment_name, for_version, object_name
from serving.rollout.cluster import Cluster
from serving.rollout.overlays import Overlay
from serving.rollout.pods import Failure, living_pods, served_version
from serving.rollout.readiness import past_of, wait_ready
from slipway.errors import ClusterError, RolloutError

OVERLAY = "slipway/overlay"
_PODS_GONE_SECONDS = 60


@dataclass(frozen=True)
class Workload:
    """One model's objects, with the attributes of `Rollout`.

    Attributes:
        models_path: The model store, as pods see it.
        ready_seconds: How long pods may take to become ready.
        check: Called before each write; raises if the rollout has lost its lease.
    """

    cluster: Cluster
    model: str
    models_path: str
    ready_seconds: int
    force: bool
    say: Callable[[str], None]
    pause: Callable[[float], None]
    check: Callable[[], None]

    def deployment_name(self, track: Track) -> str:
        """Name of a track's Deployment."""
        return deployment_name(self.model, track)

    def deployment(self, track: Track) -> Object | None:
        """A track's Deployment, if there is one."""
        return self.cluster.get("Deployment", self.deployment_name(track))

    def stable_version(self) -> int | None:
        """The version that the stable Deployment serves; None without one."""
        stable = self.deployment("stable")
        return served_version(stable) if stable else None

    def stable_overlay(self) -> str:
        """Digest of the overlay that the stable Deployment was made of; empty if it is not known."""
        return _overlay_of(self.deployment("stable") or {})

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
            "paused": bool(found["spec"].get("paused")),
            "overlay": _overlay_of(found),
        }

    def require_unpaused(self) -> None:
        """Raises `RolloutError` if a Deployment is paused, so that no change of it would reach its pods."""
        for track in ("stable", "canary"):
            found = self.deployment(track)
            if found and found["spec"].get("paused"):
                name = found["metadata"]["name"]
                raise RolloutError(
                    f"Deployment {name} is paused, so nothing was changed: no new pods would start. Run: "
                    f"{self.cluster.kubectl} rollout resume deployment/{name}"
                )

    def require_appliable(self, number: int, overlay: Overlay) -> None:
        """Finds by dry runs what the API server would refuse of stable's objects, such as fields edited by hand.

        Raises:
            ClusterError: it refuses one.
            RolloutError: stable would have no pods.
        """
        for each in self._wanted("stable", number, overlay):
            made = self.cluster.apply(each, force=self.force, dry_run=True)
            spec = made.get("spec", {})
            if 0 in (spec.get("minReplicas", 1), spec.get("replicas", 1)):
                raise RolloutError(f"{each['kind']} {each['metadata']['name']} asks for 0 pods: {self._scale_up(spec)}")

    def serve(self, track: Track, number: int, overlay: Overlay, replicas: int | None = None) -> Failure | None:
        """Applies a track's objects for a version, and waits until its pods are ready, as `wait_ready` does."""
        name = self.deployment_name(track)
        past = past_of(self.cluster, name)
        self.apply(track, number, overlay, replicas)
        failure = wait_ready(self.cluster, name, self.ready_seconds, self.pause, past, self.say)
        spec = (self.deployment(track) or {}).get("spec", {})
        if failure is None and spec.get("replicas", 1) == 0:
            self.say(f"warning: Deployment {name} has 0 pods, so nothing answers: {self._scale_up(spec)}")
        return failure

    def apply(
        self,
        track: Track,
        number: int,
        overlay: Overlay,
        replicas: int | None = None,
        *,
        only_shared: bool = False,
    ) -> None:
        """Applies a track's objects for a version; or only those of no track, as Service, account, configuration."""
        for each in self._wanted(track, number, overlay, replicas):
            if not only_shared or TRACK not in each["metadata"].get("labels", {}):
                self.check()
                self.cluster.apply(each, force=self.force)

    def would_change_pods(self, number: int, overlay: Overlay) -> bool:
        """Whether `apply` would change more of the stable Deployment than the name of its overlay."""
        live = self.stable_overlay()
        return self.cluster.would_change(self._wanted("stable", number, Overlay(live, overlay.objects))[-1],
                                         force=self.force)  # fmt: skip

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

    def collect_pins(self) -> None:
        """Deletes the ConfigMaps of versions that no Deployment and no ReplicaSet names any more."""
        name, labels = object_name(self.model), {INSTANCE: object_name(self.model)}
        try:
            owners = [self.deployment("stable"), self.deployment("canary"), *self.cluster.list("ReplicaSet", labels)]
            used = {
                volume["configMap"]["name"]
                for owner in owners
                if owner
                for volume in owner["spec"]["template"]["spec"].get("volumes", [])
                if "configMap" in volume
            }
            pins = [each["metadata"]["name"] for each in self.cluster.list("ConfigMap", labels)]
        except ClusterError as problem:
            self.say(f"warning: ConfigMaps of old versions stay: {problem}")
            return
        old = [pin for pin in pins if pin.startswith(f"{name}-models-v") and pin not in used]
        self._clean_up(("v1", "ConfigMap", pin) for pin in old)

    def remove_all(self, number: int, overlay: Overlay) -> None:
        """Deletes all objects of a model whose first version failed, but those that bear no name of the model."""
        name = f"{object_name(self.model)}-"
        wanted = [*self._wanted("stable", number, overlay), *self._wanted("canary", number, overlay)]
        found = dict.fromkeys((each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in reversed(wanted))
        self._clean_up(one for one in found if one[2].startswith(name))

    def _clean_up(self, objects: Iterable[tuple[str, str, str]]) -> None:
        """Deletes objects that serve nothing; what cannot be deleted is said, and stays."""
        for version, kind, name in objects:
            self.check()
            try:
                self.cluster.delete(kind, name, version)
            except ClusterError as problem:
                self.say(f"warning: {kind} {name} stays: {problem}")

    def _scale_up(self, spec: Object) -> str:
        if "minReplicas" in spec:
            return "set minReplicas of the HorizontalPodAutoscaler to 1 or more in the overlay"
        return (
            "remove `replicas: 0` from the overlay; if it was scaled by hand: "
            f"{self.cluster.kubectl} scale deployment/{self.deployment_name('stable')} --replicas 1"
        )

    def _wanted(self, track: Track, number: int, overlay: Overlay, replicas: int | None = None) -> list[Object]:
        objects, path = overlay.objects, self.models_path
        made = for_version(objects, self.model, number, track=track, models_path=path, replicas=replicas)
        # The Deployment comes last, when all that its pods need is there.
        made = sorted(made, key=lambda each: bool(each["kind"] == "Deployment"))
        spec = made[-1]["spec"]  # the controller must not give up earlier than the rollout
        spec["progressDeadlineSeconds"] = max(spec.get("progressDeadlineSeconds", 600), self.ready_seconds)
        if overlay.digest:
            made[-1]["metadata"].setdefault("annotations", {})[OVERLAY] = overlay.digest
        return made


def _overlay_of(deployment: Object) -> str:
    return str(deployment.get("metadata", {}).get("annotations", {}).get(OVERLAY, ""))
