"""The commands of a rollout: start, promote, abort, rollback, status."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from serving.manifests import Object, require_room
from serving.rollout.cluster import Cluster
from serving.rollout.lease import Phase, RolloutLease, RolloutState, has_expired, lease_name, read_state
from serving.rollout.overlays import Overlays, differences
from serving.rollout.policy import RolloutPolicy
from serving.rollout.steps import Steps, require_fit
from serving.rollout.workload import Workload
from slipway.errors import ClusterError, RolledBackError, RolloutBusyError, RolloutError, StoreError
from slipway.lineage import describe_actor, user_at_host
from slipway.stores.model_store import ModelStore, last_move


@dataclass(frozen=True)
class Rollout:
    """Rollouts of one model in one namespace.

    If a process dies, the same command goes on from the recorded state. Only a new rollout renders the overlay: all
    else uses the one with which a version last ran, which is named on the Lease and published beside the store.

    Attributes:
        render: Makes the overlay of this checkout or run.
        by: Name for the lease, and beside the authenticated one for records and the store's history.
        say: Gets a line for each step.
        force: Takes over fields that another manager changed.
        lease_seconds: Time without renewal after which a process counts as dead.
        once: `by` starts one rollout of a version only, as a pipeline's step does, which a platform may run again at
            any time. A second start waits for the first, and has its result. What a dead process of an older version
            left is ended first, as no person may be there to do it.
        ended: Gets the end of a rollback that was left so.
    """

    cluster: Cluster
    store: ModelStore
    render: Callable[[], list[Object]]
    model: str
    policy: RolloutPolicy
    by: str = field(default_factory=user_at_host)
    say: Callable[[str], None] = print
    force: bool = False
    pause: Callable[[float], None] = time.sleep
    lease_seconds: int = 60
    once: bool = False
    ended: Callable[[RolloutState], None] = lambda state: None

    def start(self, number: int, why: str = "") -> RolloutState:
        """Brings a version into production by way of a canary; or the changed manifests of the stable version.

        `why` is a person's reason for a new rollout, for the store's history.

        Raises:
            StoreError: the version may not be served.
            RolloutBusyError: another rollout is running, or waits for a decision.
            RolloutInconclusiveError: too little traffic; the canary stays.
            RolloutError: the version was rolled back.
            ClusterError: the API server does not answer; run it again.
        """
        if (before := self._state()) is None or before.ended:
            _ = self._overlays.current  # one that is not filled in is refused before anything is touched
        with self._locked() as steps:
            state = self._state()
            if self.once and state and state.ended and state.version == number and self._is_mine(state):
                return self._as_before(state)
            if state and not state.ended and state.version != number and self.once:
                state = self._end_dead(steps, state, number)
                if state.phase == "rolled-back":
                    self.ended(state)
            if state and not state.ended:
                if state.version != number or state.phase == "reverting":
                    raise self._unfinished(state)
                self.say(f"going on with version {number}: {state.phase} since {_moment(state.updated)}")
                return steps.go_on(state)
            return self._begin(steps, state, number, why)

    def promote(self, why: str) -> RolloutState:
        """Promotes the version of the running canary without waiting for more traffic; raises as `start` does."""
        with self._locked() as steps:
            state = self._under_way("rolling-back", "reverting")
            steps.workload.require_unpaused()
            reasons = [f"promoted by {self._actor}: {why}"]
            return steps.go_on(steps.lease.record(state, phase="promoting", reasons=reasons))

    def abort(self, why: str) -> RolloutState:
        """Removes the canary without judging its version, unless that was decided; raises as `start` does."""
        with self._locked() as steps:
            state = self._under_way("reverting")
            if state.phase != "rolling-back":
                reasons = [f"aborted by {self._actor}: {why}"]
                state = steps.lease.record(state, phase="rolling-back", blames_model=False, reasons=reasons)
            return steps.roll_back(state, "rolled-back" if state.blames_model else "aborted")

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
            if left is None:
                stands = self.store.production(self.model)
                reason = "there is no version to replace"
                raise self._not_back(None, reason, "start", f"/{stands.number}" if stands else "")
            if leave not in (None, left):
                raise self._not_back(serves, f"version {leave} does not serve", "rollback")
            if state != seen or (state and leave is None and state.updated > asked):
                reason = "the rollout changed after this command was given"
                raise self._not_back(serves, reason, "rollback", f" --from {left}")
            steps.workload.require_unpaused()
            begun = under_way or self._new_state(steps, state, version=left, phase="reverting", reasons=[why])
            return self._revert(steps, begun, serves, resumed=under_way is not None)

    def status(self) -> dict[str, Any]:
        """What serves, who holds the lease, and the last decision; changes nothing."""
        lease = self.cluster.get("Lease", lease_name(self.model)) or {"metadata": {}, "spec": {}}
        state, production = read_state(lease), self.store.production(self.model)
        holder = lease["spec"].get("holderIdentity") or None
        workload = self._workload("")
        return {
            "model": self.model,
            "namespace": self.cluster.namespace,
            "production": production.number if production else None,
            "stable": workload.status("stable"),
            "canary": workload.status("canary"),
            "holder": holder,
            "held_since": lease["spec"].get("acquireTime") if holder else None,
            "expired": has_expired(lease) if holder else None,
            "rollout": state.model_dump() if state else None,
            "commands": self._commands(state) if state and not state.ended else [],
        }

    def _revert(self, steps: Steps, state: RolloutState, serves: int | None, *, resumed: bool) -> RolloutState:
        try:
            number = self._go_back(state, serves, steps.lease)
        except RolloutError as error:
            if resumed:  # another version was promoted in the store, and may be started
                steps.lease.record(state, phase="aborted", reasons=[str(error)])
            raise
        return steps.revert(state, number)

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
            raise self._not_back(serves, reason, "start", f"/{move.version if move else left}")
        lease.check()
        why = "; ".join(state.reasons)
        return self.store.rollback(self.model, leave=left, why=why, who=self._who, says=self.by).version

    def _not_back(self, serves: int | None, why: str, verb: str, more: str = "") -> RolloutError:
        what = f"version {serves} serves" if serves else "nothing serves"
        return RolloutError(
            f"{self.model} was not rolled back, and nothing was changed: {why}, and {what} in "
            f"{self.cluster.namespace}. Look at `slipway rollout status {self.model}`; then "
            f"{_hint(verb, f'{self.model}{more}')}"
        )

    @cached_property
    def _overlays(self) -> Overlays:
        return Overlays(self.store.uri, self.render, self.cluster.namespace, self.say)

    @cached_property
    def _who(self) -> str:
        """The account as the API server knows it."""
        return self.cluster.identity() or f"unauthenticated: {self.by}"

    @property
    def _actor(self) -> str:
        return describe_actor(self._who, self.by)

    def _is_mine(self, state: RolloutState) -> bool:
        return self.by in (state.who, state.says)

    def _workload(self, models_path: str) -> Workload:
        return Workload(
            self.cluster, self.model, models_path, self.policy.ready_seconds, self.force, self.say, self.pause,
            check=lambda: None,
        )  # fmt: skip

    def _models_path(self) -> str:
        path = self.policy.models_path
        if not path:  # the store's own address
            version = self.store.production(self.model)
            if version is None:
                raise StoreError(f"there is no version of {self.model} in the store that may serve; push one")
            path, question, query = version.uri.partition("?")
            path = f"{path.removesuffix(f'/{self.model}/{version.number}')}{question}{query}"
        return path.rstrip("/")

    def _state(self) -> RolloutState | None:
        return read_state(self.cluster.get("Lease", lease_name(self.model)))

    @contextmanager
    def _locked(self) -> Iterator[Steps]:
        """The steps, for as long as the lease is held."""
        lease = RolloutLease(self.cluster, self.model, self.by, self.lease_seconds, self.say, once=self.once)

        def pause(seconds: float) -> None:
            lease.check()
            self.pause(seconds)

        workload = replace(self._workload(self._models_path()), pause=pause, check=lease.check)
        with lease, self._interruptible():
            yield Steps(workload, self.store, self._overlays, self.policy, lease, self._who, self.by, self.say)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Says how to go on where a person interrupts the command."""
        try:
            yield
        except KeyboardInterrupt:
            with suppress(ClusterError, RolloutError):
                if (state := self._state()) and not state.ended:
                    self.say(f"interrupted: {self._unfinished(state)}")
            raise

    def _new_state(self, steps: Steps, last: RolloutState | None, **its: Any) -> RolloutState:
        """The state of a new rollout or rollback; it knows the overlay of each version, and that of stable for sure."""
        known = last or RolloutState(version=0, phase="promoted", who="")
        stable, overlay = steps.workload.stable_version(), steps.workload.stable_overlay()
        overlays = known.ran(stable, overlay) if stable and overlay else known.overlays
        return RolloutState(who=self._who, says=self.by, overlays=overlays, **its)

    def _begin(self, steps: Steps, last: RolloutState | None, number: int, why: str) -> RolloutState:
        """Begins a rollout with the overlay of this checkout or run."""
        workload, overlay = steps.workload, self._overlays.current
        stable, stage = workload.stable_version(), self.store.stage(self.model, number)
        is_stable = (stable, stage) == (number, "stable")
        if not is_stable:
            require_fit(self.store, self.model, number)
            if self.once and stage == "retired":
                self._refuse_own(number)
        workload.require_unpaused()
        workload.require_appliable(number, overlay)
        require_room(overlay.objects, sum(file.size for file in self.store.version(self.model, number).manifest.files))
        self._say_differences(workload)
        its = {"version": number, "previous": stable, "overlay": overlay.digest}
        begun = self._new_state(steps, last, phase="canary", reasons=[why] if why else [], **its)
        if is_stable and not workload.would_change_pods(number, overlay):
            workload.apply("stable", number, overlay)  # what is beside the pods may have changed
            self.say(f"version {number} of {self.model} is stable already")
            overlays, state = begun.ran(number, overlay.digest), last or begun.model_copy(update={"phase": "promoted"})
            return state if state.overlays == overlays else steps.lease.record(state, overlays=overlays)
        return steps.go_on(steps.lease.record(begun))

    def _say_differences(self, workload: Workload) -> None:
        """Says what the overlay changes of the one that serves."""
        serving, current = workload.stable_overlay(), self._overlays.current
        if serving in ("", current.digest):
            return
        try:
            old = self._overlays.read(serving).objects
        except StoreError as error:
            self.say(f"the overlay differs from the one that serves, which cannot be read: {error}")
            return
        self.say("the overlay differs from the one that serves:")
        for line in differences(old, current.objects):
            self.say(f"  - {line}")

    def _end_dead(self, steps: Steps, state: RolloutState, number: int) -> RolloutState:
        """Ends what a dead process of an older version left: nobody may be there to do it.

        Its lease was free, so it lives no more. What it had decided is done; an undecided canary is removed and its
        version not judged. A held one waits for a person as long as it is there.
        """
        is_held = state.phase == "held" and steps.workload.deployment("canary") is not None
        if state.version > number or is_held:
            return state
        self.say(f"version {state.version} of {self.model} was left {state.phase} since {_moment(state.updated)}")
        if state.phase in ("promoting", "rolling-back", "reverting"):
            try:
                if state.phase == "reverting":
                    return self._revert(steps, state, steps.workload.stable_version(), resumed=True)
                return steps.go_on(state)
            except RolloutError as error:
                ended = self._state()
                if ended is None or not ended.ended:
                    raise
                self.say(str(error))
                return ended
        reason = f"its process, of {state.starter}, ended before it was decided; version {number} is rolled out"
        changes = {"blames_model": False, "reasons": [*state.reasons, reason]}
        return steps.roll_back(steps.lease.record(state, phase="rolling-back", **changes), "aborted")

    def _as_before(self, state: RolloutState) -> RolloutState:
        told = f"version {state.version} of {self.model} was {state.phase} already by {state.starter}: "
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
        if any(self.by in (one.who, one.says, f"run {one.run}") for one in about if one.version == number):
            last = about[-1]
            raise RolloutError(
                f"version {number} of {self.model} is retired since {_moment(last.when)}: {last.action} of version "
                f"{last.version} by {last.actor}, {last.why}. To serve it anyway: "
                f"`slipway rollout start {self.model}/{number}`"
            )

    def _under_way(self, *ending: Phase) -> RolloutState:
        """The state of the unfinished rollout; refuses one in the phases `ending`, or none."""
        state = self._state()
        if state is None or state.ended:
            last = f": version {state.version} is {_since(state)}" if state else ""
            raise RolloutError(f"no rollout of {self.model} is running{last}; start one: {_hint('start', self.model)}")
        if state.phase in ending:
            raise self._unfinished(state)
        return state

    def _unfinished(self, state: RolloutState) -> RolloutBusyError:
        commands = " or ".join(f"`{command}`" for command in self._commands(state))
        return RolloutBusyError(
            f"version {state.version} of {self.model} is {_since(state)}; end that first: {commands}"
        )

    def _commands(self, state: RolloutState) -> list[str]:
        """What ends an unfinished rollout."""
        again, decide = f"start {self.model}/{state.version}", [f"promote {self.model}", f"abort {self.model}"]
        verbs = {"reverting": [f"rollback {self.model}"], "rolling-back": [again]}
        return [f"slipway rollout {verb}" for verb in verbs.get(state.phase, [again, *decide])]


def _since(state: RolloutState) -> str:
    why = f" ({'; '.join(state.reasons)})" if state.reasons else ""
    return f"{state.phase} since {_moment(state.updated)}, started by {state.starter}{why}"


def _hint(verb: str, what: str) -> str:
    return f"`slipway rollout {verb} {what}`"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
