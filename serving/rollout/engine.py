"""The commands of a rollout: start, promote, abort, rollback, status."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from serving.manifests import INSTANCE, Object, object_name
from serving.rollout.cluster import Cluster
from serving.rollout.lease import Phase, RolloutLease, RolloutState, read_state
from serving.rollout.policy import RolloutPolicy
from serving.rollout.steps import Steps, require_fit
from serving.rollout.workload import Workload
from slipway.errors import RolledBackError, RolloutBusyError, RolloutError, StoreError
from slipway.lineage import user
from slipway.stores.model_store import ModelStore, last_move


@dataclass(frozen=True)
class Rollout:
    """Rollouts of one model in one namespace.

    If a process dies, the same command goes on from the recorded state.

    Attributes:
        objects: The rendered overlay.
        by: Name for records and the store's history; the user by default.
        say: Gets a line for each step.
        force: Takes over fields that another manager changed.
        lease_seconds: Time without renewal after which a process counts as dead.
        once: `by` starts one rollout of a version only, as a pipeline's step does, which a platform may run again at
            any time. A second start waits for the first, and has its result.
    """

    cluster: Cluster
    store: ModelStore
    objects: list[Object]
    model: str
    policy: RolloutPolicy
    by: str = field(default_factory=user)
    say: Callable[[str], None] = print
    force: bool = False
    pause: Callable[[float], None] = time.sleep
    lease_seconds: int = 60
    once: bool = False

    def start(self, number: int) -> RolloutState:
        """Brings a version into production by way of a canary; or the changed manifests of the stable version.

        Raises:
            StoreError: the version may not be served.
            RolloutBusyError: another rollout is running, or waits for a decision.
            RolloutInconclusiveError: too little traffic; the canary stays.
            RolloutError: the version was rolled back.
            ClusterError: the API server does not answer; run it again.
        """
        with self._locked() as steps:
            state = self._state()
            if self.once and state and state.ended and (state.version, state.who) == (number, self.by):
                return self._as_before(state)
            if state and not state.ended:
                if state.version != number or state.phase == "reverting":
                    raise self._unfinished(state)
                self.say(f"going on with version {number}: {state.phase} since {_moment(state.updated)}")
                return steps.go_on(state)
            stable, stage = steps.workload.stable_version(), self.store.stage(self.model, number)
            if (stable, stage) == (number, "stable") and not steps.workload.would_change_pods("stable", number):
                steps.workload.apply("stable", number)  # what is beside the pods may have changed
                self.say(f"version {number} of {self.model} is stable already")
                return RolloutState(version=number, phase="promoted", who=self.by)
            require_fit(self.store, self.model, number)
            if self.once and stage == "retired":
                self._refuse_own(number)
            begun = RolloutState(version=number, previous=stable, phase="canary", who=self.by)
            return steps.go_on(steps.lease.record(begun))

    def promote(self, why: str) -> RolloutState:
        """Promotes the version of the running canary without waiting for more traffic; raises as `start` does."""
        with self._locked() as steps:
            state = self._under_way("rolling-back", "reverting")
            reasons = [f"promoted by {self.by}: {why}"]
            return steps.go_on(steps.lease.record(state, phase="promoting", reasons=reasons))

    def abort(self, why: str) -> RolloutState:
        """Removes the canary without judging its version; raises as `start` does."""
        with self._locked() as steps:
            state = self._under_way("reverting")
            reasons = [f"aborted by {self.by}: {why}"]
            state = steps.lease.record(state, phase="rolling-back", blames_model=False, reasons=reasons)
            return steps.roll_back(state, "aborted")

    def rollback(self, why: str, *, leave: int | None = None, asked: float = math.inf) -> RolloutState:
        """Goes back to the version that was stable before, and quarantines the present one.

        Args:
            why: For the store's history.
            leave: The version that must serve now; by default the one at the time `asked`.
            asked: When the command was given, in seconds since 1970; now by default.

        Raises:
            StoreError: no version was promoted before.
            RolloutError: something else serves, or was decided, since then, and nothing was changed; or the version
                before does not become ready.
            RolloutBusyError: another rollout is running, or waits for a decision.
            ClusterError: the API server does not answer; run it again.
        """
        seen = self._state()
        with self._locked() as steps:
            state, serves = self._state(), steps.workload.stable_version()
            under_way = state if state and not state.ended else None
            if under_way and under_way.phase != "reverting":
                raise self._unfinished(under_way)
            left = under_way.version if under_way else serves
            if left is None or leave not in (None, left):
                reason = f"version {leave} does not serve" if left else "there is no version to replace"
                raise self._not_back(serves, reason, "start VERSION, or rollback without --from")
            if state != seen or (state and leave is None and state.updated > asked):
                reason = "the rollout changed after this command was given"
                raise self._not_back(serves, reason, f"rollback --from {left}")
            begun = under_way or RolloutState(version=left, phase="reverting", who=self.by, reasons=[why])
            try:
                number = self._go_back(begun, serves, steps.lease)
            except RolloutError as error:
                if under_way:  # another version was promoted in the store, and may be started
                    steps.lease.record(under_way, phase="aborted", reasons=[str(error)])
                raise
            return steps.revert(begun, number)

    def status(self) -> dict[str, Any]:
        """What serves, who holds the lease, and the last decision; changes nothing."""
        lease = self.cluster.get("Lease", self._lease_name) or {"spec": {}}
        state, production = self._state(), self.store.production(self.model)
        holder = lease["spec"].get("holderIdentity") or None
        return {
            "model": self.model,
            "namespace": self.cluster.namespace,
            "production": production.number if production else None,
            "stable": self._workload.status("stable"),
            "canary": self._workload.status("canary"),
            "holder": holder,
            "held_since": lease["spec"].get("acquireTime") if holder else None,
            "rollout": state.model_dump() if state else None,
        }

    def _go_back(self, state: RolloutState, serves: int | None, lease: RolloutLease) -> int:
        """Moves the store's pin away from the version, unless that was done; returns the version to serve."""
        history, left = self.store.history(self.model), state.version
        move = last_move(history)
        if move and move.action == "rollback" and left in {one.previous for one in history if one.action == "rollback"}:
            return move.version  # a process died after that, or somebody rolled back in the store alone
        if move is None or move.version != left:
            reason = (
                f"version {move.version} is stable in the store" if move else "nothing was ever promoted in the store"
            )
            raise self._not_back(serves, reason, f"start {move.version if move else left}")
        lease.check()
        return self.store.rollback(self.model, leave=left, why="; ".join(state.reasons), who=self.by).version

    def _not_back(self, serves: int | None, why: str, command: str) -> RolloutError:
        what = f"version {serves} serves" if serves else "nothing serves"
        return RolloutError(
            f"{self.model} was not rolled back, and nothing was changed: {why}, and {what} in "
            f"{self.cluster.namespace}. Look at `slipway rollout status`; then slipway rollout {command}"
        )

    @cached_property
    def _workload(self) -> Workload:
        path = self.policy.models_path
        if not path:  # the store's own address
            version = self.store.production(self.model)
            if version is None:
                raise StoreError(f"there is no version of {self.model} in the store that may serve; push one")
            path = version.uri.partition("?")[0].removesuffix(f"/{self.model}/{version.number}")
        return Workload(
            self.cluster, self.objects, self.model, path.rstrip("/"), self.force, self.pause, check=lambda: None
        )

    @property
    def _lease_name(self) -> str:
        return f"{object_name(self.model)}-rollout"

    def _state(self) -> RolloutState | None:
        return read_state(self.cluster, self._lease_name)

    @contextmanager
    def _locked(self) -> Iterator[Steps]:
        """The steps, for as long as the lease is held."""
        labels = {INSTANCE: object_name(self.model), "app.kubernetes.io/managed-by": "slipway"}
        lease = RolloutLease(
            self.cluster, self._lease_name, labels, self.by, self.lease_seconds, self.say, once=self.once
        )

        def pause(seconds: float) -> None:
            lease.check()
            self.pause(seconds)

        workload = replace(self._workload, pause=pause, check=lease.check)
        with lease:
            yield Steps(workload, self.store, self.policy, lease, self.by, self.say)

    def _as_before(self, state: RolloutState) -> RolloutState:
        told = f"version {state.version} of {self.model} was {state.phase} already by {state.who}: "
        told += "; ".join(state.reasons)
        if state.phase == "rolled-back":
            raise RolledBackError(told, state.version)
        if state.phase == "aborted":
            raise RolloutError(told)
        self.say(told)
        return state

    def _refuse_own(self, number: int) -> None:
        """Refuses a retired version that `by` trained or started before a later rollout; others may start it again."""
        about = [one for one in self.store.history(self.model) if number in (one.version, one.previous)]
        if any(self.by in (one.who, f"run {one.run}") for one in about if one.version == number):
            last = about[-1]
            raise RolloutError(
                f"version {number} of {self.model} is retired since {_moment(last.when)}: {last.action} of version "
                f"{last.version} by {last.who}, {last.why}. To serve it anyway: slipway rollout start {number}"
            )

    def _under_way(self, *ending: Phase) -> RolloutState:
        """The state of the unfinished rollout; refuses one in the phases `ending`, or none."""
        state = self._state()
        if state is None or state.ended:
            raise RolloutError(f"no rollout of {self.model} is running; start one: slipway rollout start")
        if state.phase in ending:
            raise self._unfinished(state)
        return state

    def _unfinished(self, state: RolloutState) -> RolloutBusyError:
        commands = {"reverting": "rollback", "rolling-back": f"start {state.version}"}
        command = commands.get(state.phase, f"start {state.version}, promote or abort")
        why = f" ({'; '.join(state.reasons)})" if state.reasons else ""
        return RolloutBusyError(
            f"version {state.version} of {self.model} is {state.phase} since {_moment(state.updated)}, started by "
            f"{state.who}{why}; end that first: slipway rollout {command}"
        )


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
