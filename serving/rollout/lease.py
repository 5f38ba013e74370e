"""A Kubernetes Lease that admits one rollout of a model at a time, and keeps its state in an annotation.

As in client-go's leader election, a Lease expires if it was not renewed for its whole duration as observed here: no two
clocks are compared. A rollout whose process died can be run again at once; one that lives is never interrupted.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from pydantic import BaseModel, ValidationError

from serving.rollout.api_errors import StaleError
from serving.rollout.cluster import Cluster, Object
from slipway.errors import ClusterError, RolloutBusyError, RolloutError

STATE = "slipway/rollout"
_WRITE_ATTEMPTS = 10

Phase = Literal["canary", "held", "promoting", "rolling-back", "reverting", "promoted", "rolled-back", "aborted"]
ENDED: frozenset[Phase] = frozenset({"promoted", "rolled-back", "aborted"})


class RolloutState(BaseModel):
    """The state of a model's rollout: recorded before each step, so that another process can go on."""

    version: int
    previous: int | None = None
    phase: Phase
    started: float
    updated: float
    who: str
    reasons: list[str] = []
    blames_model: bool = False

    @property
    def ended(self) -> bool:
        """Whether the rollout is over."""
        return self.phase in ENDED


class RolloutLease:
    """Held in a `with` block, and renewed by a thread.

    Args:
        cluster: The namespace.
        name: Name of the Lease.
        labels: Labels of the Lease.
        holder: The holder's name; the machine and a random part are added.
        seconds: Duration without renewal after which it expires.
        say: Gets a line while it waits.
        once: Waits for a living holder of the same name instead of being refused.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        labels: dict[str, str],
        *,
        holder: str,
        seconds: int,
        say: Callable[[str], None],
        once: bool = False,
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._labels = labels
        self._seconds = seconds
        self._say = say
        self._awaited = f"{holder}@" if once else None
        self.holder = f"{holder}@{socket.gethostname()}-{secrets.token_hex(3)}"
        self._stop = threading.Event()
        self._lost = ""
        self._renewed = 0.0
        self._writing = threading.Lock()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> RolloutLease:
        self._acquire()
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._renewer.join()
        if not self._lost:
            try:
                self._write({"holderIdentity": ""})
            except (ClusterError, RolloutError) as problem:
                self._say(f"warning: the lease stays until it expires in {self._seconds} s: {problem}")

    def check(self) -> None:
        """Called before each change of the cluster, and repeatedly while waiting.

        Raises:
            RolloutError: the lease is lost.
        """
        if not self._lost and time.monotonic() - self._renewed > self._seconds:
            self._lost = f"it could not be renewed for {self._seconds} s"
        if self._lost:
            raise RolloutError(f"this rollout lost its lease: {self._lost}. Nothing was changed since; run it again")

    def state(self) -> RolloutState | None:
        """The state of the last rollout; None before the first."""
        return read_state(self._cluster, self._name)

    def record(self, state: RolloutState) -> RolloutState:
        """Records a state."""
        self.check()
        stamped = state.model_copy(update={"updated": time.time()})
        self._write({"renewTime": _now()}, stamped)
        return stamped

    def _acquire(self) -> None:
        seen, since, met = "", time.monotonic(), 0
        while met < _WRITE_ATTEMPTS:
            self._renewed = time.monotonic()
            lease = self._cluster.get("Lease", self._name)
            try:
                if lease is None:
                    self._cluster.create(self._new())
                    return
                held = lease.get("spec", {})
                if held.get("holderIdentity") == self.holder:
                    return  # our write was carried out, and its answer lost
                if not held.get("holderIdentity") or self._abandoned(lease, seen, since):
                    self._take(lease)
                    return
            except StaleError:
                met += 1  # somebody was faster: look again
                continue
            is_first = self._awaited is not None and held["holderIdentity"].startswith(self._awaited)
            if lease["metadata"]["resourceVersion"] != seen:
                if seen and not is_first:
                    raise _busy(lease)
                if not seen:
                    awaited = "it to end" if is_first else "a sign of life"
                    self._say(f"{held['holderIdentity']} has the lease; waiting for {awaited}, or for it to expire")
                seen, since = lease["metadata"]["resourceVersion"], time.monotonic()
            time.sleep(self._seconds / 30)
        raise RolloutBusyError(f"the lease {self._name} is taken and given back again and again; run it later")

    def _abandoned(self, lease: Object, seen: str, since: float) -> bool:
        duration = int(lease["spec"].get("leaseDurationSeconds", self._seconds))
        return str(lease["metadata"]["resourceVersion"]) == seen and time.monotonic() - since > duration

    def _new(self) -> Object:
        metadata = {"name": self._name, "namespace": self._cluster.namespace, "labels": self._labels}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": self._held({"leaseTransitions": 0}),
        }

    def _held(self, spec: Object) -> Object:
        moment = _now()
        return spec | {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self._seconds,
            "acquireTime": moment,
            "renewTime": moment,
        }

    def _take(self, lease: Object) -> None:
        transitions = lease.get("spec", {}).get("leaseTransitions", 0)
        lease["spec"] = self._held({"leaseTransitions": transitions + 1})
        self._cluster.replace(lease)

    def _renew(self) -> None:
        while not self._stop.wait(self._seconds / 3):
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
                lease = self._cluster.get("Lease", self._name)
                if lease is None or lease["spec"].get("holderIdentity") != self.holder:
                    now = lease["spec"].get("holderIdentity") or "nobody" if lease else "nobody; it was deleted"
                    raise RolloutError(f"the lease {self._name} is held by {now}")
                lease["spec"] |= spec
                if state is not None:
                    lease["metadata"].setdefault("annotations", {})[STATE] = state.model_dump_json()
                try:
                    self._cluster.replace(lease)
                except StaleError:
                    continue
                self._renewed = began
                return
        raise ClusterError(f"the lease {self._name} changed {_WRITE_ATTEMPTS} times while it was written; run it again")


def read_state(cluster: Cluster, name: str) -> RolloutState | None:
    """The state of a model's rollout in a Lease.

    Raises:
        RolloutError: the annotation is damaged.
    """
    lease = cluster.get("Lease", name)
    text = (lease or {}).get("metadata", {}).get("annotations", {}).get(STATE)
    try:
        return RolloutState.model_validate_json(text) if text else None
    except ValidationError as error:
        raise RolloutError(
            f"Lease {name}: its annotation {STATE} is not a rollout's state ({error.error_count()} problems). "
            f"Look at the Deployments; then remove it: kubectl annotate lease {name} {STATE}-"
        ) from error


def user() -> str:
    """The user's name for records, which a container's user need not have."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _busy(lease: Object) -> RolloutBusyError:
    held = lease["spec"]
    return RolloutBusyError(
        f"{held.get('holderIdentity') or 'another process'} is at this model's rollout since "
        f"{held.get('acquireTime')}; wait until it has ended: `slipway rollout status` shows it"
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # metav1.MicroTime
