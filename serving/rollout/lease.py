"""A Kubernetes Lease that admits one rollout of a model at a time, and keeps its state in an annotation.

As in client-go's leader election, a Lease expires if it was not renewed for its whole duration as observed here: no two
clocks are compared. A rollout whose process died can be run again at once; one that lives is never interrupted.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from serving.manifests import INSTANCE, Object, object_name
from serving.rollout.cluster import Cluster, StaleError
from slipway.errors import ClusterError, RolloutBusyError, RolloutError
from slipway.lineage import describe_actor

STATE = "slipway/rollout"
_WRITE_ATTEMPTS = 10
_KEPT_OVERLAYS = 100  # an annotation is limited to 256 KiB

Phase = Literal["canary", "held", "promoting", "rolling-back", "reverting", "promoted", "rolled-back", "aborted"]
ENDED: frozenset[Phase] = frozenset({"promoted", "rolled-back", "aborted"})


class RolloutState(BaseModel):
    """The state of a model's rollout: recorded before each step, so that another process can go on.

    Attributes:
        left: The version that a rollback left; None for other rollouts.
        who: The account that began it, as the API server knows it.
        says: The name that it gave itself.
        overlay: Digest of the overlay that the version is served with.
        overlays: Digest of the overlay with which each version was last stable here, the newest at the end.
    """

    version: int
    previous: int | None = None
    left: int | None = None
    phase: Phase
    started: float = Field(default_factory=time.time)
    updated: float = Field(default_factory=time.time)
    who: str
    says: str = ""
    reasons: list[str] = []
    blames_model: bool = False
    overlay: str = ""
    overlays: dict[int, str] = {}

    @property
    def ended(self) -> bool:
        """Whether the rollout is over."""
        return self.phase in ENDED

    @property
    def starter(self) -> str:
        """Who began it, in words."""
        return describe_actor(self.who, self.says)

    @property
    def summary(self) -> str:
        """A rollback in words."""
        became = f"back at version {self.version}, from version {self.left}"
        return f"{became if self.left else f'version {self.version} was rolled back'}: {'; '.join(self.reasons)}"

    def ran(self, number: int, overlay: str) -> dict[int, str]:
        """`overlays` after a version became stable with an overlay."""
        others = [one for one in self.overlays.items() if one[0] != number]
        return dict([*others, (number, overlay)][-_KEPT_OVERLAYS:])


def lease_name(model: str) -> str:
    """Name of a model's Lease."""
    return f"{object_name(model)}-rollout"


def read_state(lease: Object | None) -> RolloutState | None:
    """The state of the last rollout; None before the first. Raises `RolloutError` if it is damaged."""
    metadata = (lease or {}).get("metadata", {})
    text = metadata.get("annotations", {}).get(STATE)
    try:
        return RolloutState.model_validate_json(text) if text else None
    except ValidationError as error:
        name = metadata["name"]
        raise RolloutError(
            f"Lease {name}: its annotation {STATE} is not a rollout's state ({error.error_count()} problems). Look at "
            "the Deployments; then remove it: "
            f"kubectl --namespace {metadata['namespace']} annotate lease {name} {STATE}-"
        ) from error


def has_expired(lease: Object) -> bool:
    """Whether a held Lease was not renewed for its whole duration by this machine's clock: to be shown, not to act."""
    spec = lease["spec"]
    renewed = datetime.fromisoformat(spec["renewTime"]) if spec.get("renewTime") else datetime.fromtimestamp(0, UTC)
    return (datetime.now(UTC) - renewed).total_seconds() > float(spec.get("leaseDurationSeconds", 0))


@dataclass
class RolloutLease:
    """Held in a `with` block, and renewed by a thread.

    Attributes:
        model: The model, which names the Lease.
        holder: The holder's name; in the Lease, the machine, unless it names one, and a random part are added.
        seconds: Duration without renewal after which it expires.
        once: Waits for a living holder of the same name instead of being refused.
    """

    cluster: Cluster
    model: str
    holder: str
    seconds: int
    say: Callable[[str], None]
    once: bool

    def __post_init__(self) -> None:
        self.name = lease_name(self.model)
        named = self.holder if "@" in self.holder else f"{self.holder}@{socket.gethostname()}"
        self._identity = f"{named}-{secrets.token_hex(3)}"
        self._stop = threading.Event()
        self._lost = ""
        self._renewed = 0.0
        self._writing = threading.Lock()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> RolloutLease:
        self._acquire()
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._renewer.join()
        if not self._lost:
            try:
                self._write({"holderIdentity": ""})
            except (ClusterError, RolloutError) as problem:
                self.say(f"warning: the lease stays until it expires in {self.seconds} s: {problem}")

    def check(self) -> None:
        """Raises `RolloutError` if the lease is lost; called before each change, and repeatedly while waiting."""
        if not self._lost and time.monotonic() - self._renewed > self.seconds:
            self._lost = f"it could not be renewed for {self.seconds} s"
        if self._lost:
            raise RolloutError(f"this rollout lost its lease: {self._lost}. Nothing was changed since; run it again")

    def record(self, state: RolloutState, **changes: Any) -> RolloutState:
        """Records a state with changes and the time; returns it."""
        self.check()
        changed = state.model_copy(update=changes | {"updated": time.time()})
        self._write({"renewTime": _now()}, changed)
        return changed

    def _acquire(self) -> None:
        seen, since, met = "", time.monotonic(), 0
        while met < _WRITE_ATTEMPTS:
            self._renewed = time.monotonic()
            lease = self.cluster.get("Lease", self.name)
            held: Object = lease.get("spec", {}) if lease else {}
            holder, revision = held.get("holderIdentity"), lease["metadata"]["resourceVersion"] if lease else ""
            if holder == self._identity:
                return None  # our write was carried out, and its answer lost
            waited = time.monotonic() - since if revision == seen else 0.0
            if not holder or waited > int(held.get("leaseDurationSeconds", self.seconds)):
                try:
                    return self._take(lease)
                except StaleError:
                    met += 1  # somebody was faster: look again
                    continue
            is_first = self.once and holder.startswith(f"{self.holder}@")
            if revision != seen:
                if seen and not is_first:
                    raise RolloutBusyError(
                        f"{holder} has been running this model's rollout since {held.get('acquireTime')}; wait until "
                        f"it ends: `slipway rollout status {self.model}` shows it"
                    )
                if not seen:
                    awaited = "it to end" if is_first else "a sign of life"
                    self.say(f"{holder} has the lease; waiting for {awaited}, or for it to expire")
                seen, since = revision, time.monotonic()
            time.sleep(self.seconds / 30)
        raise RolloutBusyError(f"the lease {self.name} changes its holder too often; run it later")

    def _take(self, lease: Object | None) -> None:
        moment = _now()
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self.seconds,
            "acquireTime": moment,
            "renewTime": moment,
            "leaseTransitions": lease.get("spec", {}).get("leaseTransitions", 0) + 1 if lease else 0,
        }
        if lease:
            self.cluster.replace(lease | {"spec": spec})
        else:
            labels = {INSTANCE: object_name(self.model), "app.kubernetes.io/managed-by": "slipway"}
            metadata = {"name": self.name, "namespace": self.cluster.namespace, "labels": labels}
            new = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            self.cluster.create(new)

    def _renew(self) -> None:
        while not self._stop.wait(self.seconds / 3):
            try:
                self._write({"renewTime": _now()})
            except ClusterError:
                continue  # `check` sees when that lasts too long
            except RolloutError as error:
                self._lost = str(error)
                return

    def _write(self, spec: Object, state: RolloutState | None = None) -> None:
        """Compare-and-swap; fails unless this is the holder."""
        with self._writing:
            began = time.monotonic()
            for _ in range(_WRITE_ATTEMPTS):
                lease = self.cluster.get("Lease", self.name)
                holder = lease["spec"].get("holderIdentity") if lease else ""
                if lease is None or holder != self._identity:
                    raise RolloutError(f"the lease {self.name} is held by {holder or 'no process'}")
                lease["spec"] |= spec
                if state is not None:
                    lease["metadata"].setdefault("annotations", {})[STATE] = state.model_dump_json()
                try:
                    self.cluster.replace(lease)
                except StaleError:
                    continue
                self._renewed = began
                return
        raise ClusterError(f"the lease {self.name} changed {_WRITE_ATTEMPTS} times while it was written; run it again")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # metav1.MicroTime
