"""The commands of a rollout: start, promote, abort, rollback, status."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serving.manifests import INSTANCE, object_name
from serving.rollout.cluster import Cluster, Object
from serving.rollout.lease import Phase, RolloutLease, RolloutState, read_state, user
from serving.rollout.policy import RolloutPolicy
from serving.rollout.steps import Steps, require_fit
from serving.rollout.workload import Workload
from slipway.errors import RolledBackError, RolloutBusyError, RolloutError, StoreError
from slipway.stores.model_store import ModelStore, last_move

LEASE_SECONDS = 30


@dataclass(frozen=True)
class Rollout:
    """Rollouts of one model in one namespace.

    If a process dies, the same command goes on from the recorded state.

    Attributes:
        cluster: The namespace.
        store: The model store, with stages and history.
        objects: The rendered overlay.
        model: Name of the model.
        policy: Replicas and limits of the canary.
        by: Name for records and the store's history; the user by default.
        say: Gets a line for each step.
        force: Takes over fields that another manager changed.
        pause: Sleeps.
        lease_seconds: Time without renewal after which a process counts as dead.
        once: `by` starts one rollout of a version only, as a pipeline's step does, which a platform may run again at
            any time. A second start waits for the first, and has its result.
    """

    cluster: Cluster
    store: ModelStore
    objects: list[Object]
    model: str
    policy: RolloutPolicy
    by: str = ""
    say: Callable[[str], None] = print
    force: bool = False
    pause: Callable[[float], None] = time.sleep
    lease_seconds: int = LEASE_SECONDS
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
        with self._lease() as lease:
            state = lease.state()
            if self.once and state and state.ended and (state.version, state.who) == (number, self._who):
                return self._as_before(state)
            if state and not state.ended:
                if state.version != number or state.phase == "reverting":
                    raise self._unfinished(state)
                self.say(f"going on with version {number}: {state.phase} since {_moment(state.updated)}")
            else:
                stable = self._workload.stable_version()
                is_stable = stable == number and self.store.stage(self.model, number) == "stable"
                if is_stable and not self._workload.would_change_pods("stable", number):
                    self._workload.apply("stable", number, lease.check)  # what is beside the pods may have changed
                    self.say(f"version {number} of {self.model} is stable already")
                    return self._new_state(number, "promoted", None)
                require_fit(self.store, self.model, number)
                if self.once and self.store.stage(self.model, number) == "retired" and self._is_own(number):
                    raise self._taken_out(number)
                state = lease.record(self._new_state(number, "canary", stable))
            return self._steps(lease).go_on(state)

    def promote(self, why: str) -> RolloutState:
        """Promotes the version of the running canary without waiting for more traffic; raises as `start` does."""
        with self._lease() as lease:
            state = self._unended(lease)
            if state.phase in {"rolling-back", "reverting"}:
                raise self._unfinished(state)
            update = {"phase": "promoting", "reasons": [f"promoted by {self._who}: {why}"]}
            return self._steps(lease).go_on(lease.record(state.model_copy(update=update)))

    def abort(self, why: str) -> RolloutState:
        """Removes the canary without judging its version; raises as `start` does."""
        with self._lease() as lease:
            state = self._unended(lease)
            if state.phase == "reverting":
                raise self._unfinished(state)
            update = {"phase": "rolling-back", "blames_model": False, "reasons": [f"aborted by {self._who}: {why}"]}
            return self._steps(lease).roll_back(lease.record(state.model_copy(update=update)), "aborted")

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
        seen = read_state(self.cluster, self._workload.lease_name)
        with self._lease() as lease:
            state, serves = lease.state(), self._workload.stable_version()
            under_way = state if state and not state.ended else None
            if under_way and under_way.phase != "reverting":
                raise self._unfinished(under_way)
            left = under_way.version if under_way else serves
            if left is None or leave not in (None, left):
                reason = f"version {leave} was to be left" if left else "there is nothing to leave"
                raise self._not_back(serves, reason, "start VERSION, or rollback without --from")
            if state != seen or (state and leave is None and state.updated > asked):
                reason = "something was decided after that was asked for"
                raise self._not_back(serves, reason, f"rollback --from {left}")
            begun = under_way or self._new_state(left, "reverting", None).model_copy(update={"reasons": [why]})
            try:
                number = self._go_back(begun, serves, lease)
            except RolloutError as error:
                if under_way:  # another version was promoted in the store, and may be started
                    lease.record(under_way.model_copy(update={"phase": "aborted", "reasons": [str(error)]}))
                raise
            return self._steps(lease).revert(begun, number)

    def status(self) -> dict[str, Any]:
        """What serves, who holds the lease, and the last decision; changes nothing."""
        lease = self.cluster.get("Lease", self._workload.lease_name) or {"spec": {}}
        state = read_state(self.cluster, self._workload.lease_name)
        production = self.store.production(self.model)
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
        why = "; ".join(state.reasons)
        return self.store.rollback(self.model, leave=left, why=why, who=self._who).version

    def _not_back(self, serves: int | None, why: str, command: str) -> RolloutError:
        what = f"version {serves} serves" if serves else "nothing serves"
        return RolloutError(
            f"{self.model} was not rolled back, and nothing was changed: {why}, and {what} in "
            f"{self.cluster.namespace}. Look at `slipway rollout status`; then slipway rollout {command}"
        )

    @property
    def _workload(self) -> Workload:
        path = self.policy.models_path or self._models_path()
        return Workload(self.cluster, self.objects, self.model, path.rstrip("/"), self.force, self.pause)

    def _models_path(self) -> str:
        """The folder of the store, as seen from here."""
        version = self.store.production(self.model)
        if version is None:
            raise StoreError(f"there is no version of {self.model} in the store that may serve; push one")
        return version.uri.partition("?")[0].removesuffix(f"/{self.model}/{version.number}")

    @property
    def _who(self) -> str:
        return self.by or user()

    def _steps(self, lease: RolloutLease) -> Steps:
        return Steps(self._workload, self.store, self.policy, lease, self._who, self.say)

    def _lease(self) -> RolloutLease:
        labels = {INSTANCE: object_name(self.model), "app.kubernetes.io/managed-by": "slipway"}
        name = self._workload.lease_name
        return RolloutLease(
            self.cluster, name, labels, holder=self._who, seconds=self.lease_seconds, say=self.say, once=self.once
        )

    def _new_state(self, number: int, phase: Phase, previous: int | None) -> RolloutState:
        now = time.time()
        return RolloutState(version=number, previous=previous, phase=phase, started=now, updated=now, who=self._who)

    def _as_before(self, state: RolloutState) -> RolloutState:
        told = f"version {state.version} of {self.model} was {state.phase} already by {state.who}: "
        told += "; ".join(state.reasons)
        if state.phase == "rolled-back":
            raise RolledBackError(told, state.version)
        if state.phase == "aborted":
            raise RolloutError(told)
        self.say(told)
        return state

    def _is_own(self, number: int) -> bool:
        """Whether `by` is the run that trained the version, or made it the canary before; others may start it again."""
        events = [one for one in self.store.history(self.model) if one.version == number]
        return any(self._who in (one.who, f"run {one.run}") for one in events)

    def _taken_out(self, number: int) -> RolloutError:
        """Of a version whose rollout ended before, though the lease tells of another one since."""
        last = next(one for one in reversed(self.store.history(self.model)) if number in (one.version, one.previous))
        return RolloutError(
            f"version {number} of {self.model} is retired since {_moment(last.when)}: {last.action} of version "
            f"{last.version} by {last.who}, {last.why}. To serve it all the same: slipway rollout start {number}"
        )

    def _unended(self, lease: RolloutLease) -> RolloutState:
        state = lease.state()
        if state is None or state.ended:
            raise RolloutError(f"no rollout of {self.model} is under way; begin one: slipway rollout start")
        return state

    def _unfinished(self, state: RolloutState) -> RolloutBusyError:
        commands = {"reverting": "rollback", "rolling-back": f"start {state.version}"}
        command = commands.get(state.phase, f"start {state.version}, promote or abort")
        why = f" ({'; '.join(state.reasons)})" if state.reasons else ""
        return RolloutBusyError(
            f"version {state.version} of {self.model} is {state.phase} since {_moment(state.updated)}, begun by "
            f"{state.who}{why}; end that first: slipway rollout {command}"
        )


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
