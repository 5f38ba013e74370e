"""The steps of a rollout, under its lease.

Each is recorded before it is taken, and can be repeated, so that another process can go on. Production changes by one
write: that of the stable Deployment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.rollout.canary_check import CanaryCheck
from serving.rollout.lease import Phase, RolloutLease, RolloutState
from serving.rollout.pods import Failure, past_of, wait_ready
from serving.rollout.policy import RolloutPolicy
from serving.rollout.workload import Workload
from slipway.errors import ModelQuarantinedError, RolledBackError, RolloutError, RolloutInconclusiveError, StoreError
from slipway.stores.model_store import ModelStore


@dataclass(frozen=True)
class Steps:
    """See `Rollout` for the attributes."""

    workload: Workload
    store: ModelStore
    policy: RolloutPolicy
    lease: RolloutLease
    who: str
    say: Callable[[str], None]

    def go_on(self, state: RolloutState) -> RolloutState:
        """Takes the step of a state, and the following ones."""
        if state.phase == "promoting":
            return self._promote(state)
        if state.phase == "rolling-back":
            return self.roll_back(state)
        return self._canary(state)

    def roll_back(self, state: RolloutState, ended: Phase = "rolled-back") -> RolloutState:
        """Ends the rollout of a version: stable stays at, or returns to, the previous one.

        Raises:
            RolledBackError: always, unless the rollout was aborted.
            RolloutError: the previous version does not become ready.
        """
        model, number, why = self.workload.model, state.version, "; ".join(state.reasons)
        if self.workload.stable_version() == number != state.previous:
            self._leave_stable(state)
        self.workload.remove("canary", self.lease.check)
        is_stable = self.store.stage(model, number) == "stable"
        if state.previous not in {None, number} and is_stable and not self._is_out(state.previous):
            # It was promoted by a process that died right after that; or by hand, in the model store alone.
            self.store.promote(model, state.previous, why=why, who=self.who)
        if self.store.stage(model, number) not in {"stable", "quarantined"}:
            judge = self.store.quarantine if state.blames_model else self.store.retire
            judge(model, number, why=why, who=self.who)
        state = self._record(state, ended)
        fates = {"quarantined": "is quarantined", "stable": "stays the stable one, with the manifests that it had"}
        fate = fates.get(self.store.stage(model, number), "was not judged: it may be started again")
        serves = self.workload.stable_version()
        stays = f"version {serves} serves" if serves else "nothing serves"
        if ended == "aborted":
            self.say(f"version {number} of {model} {fate}; {stays}")
            return state
        raise RolledBackError(f"version {number} of {model} was rolled back and {fate}; {stays}. Why: {why}", number)

    def revert(self, state: RolloutState, number: int) -> RolloutState:
        """Serves the version that the store went back to, instead of the state's.

        Raises:
            RolloutError: it does not become ready.
        """
        model, left = self.workload.model, state.version
        state = self.lease.record(state)
        self.say(f"version {left} of {model} is quarantined; going back to version {number}")
        if failure := self._serve(number):
            raise RolloutError(
                f"version {number} does not come up: {failure.reason}. Mend it, or name another by `slipway models "
                f"rollback {model} --to VERSION`; then run `slipway rollout rollback` again"
            )
        self.workload.remove("canary", self.lease.check)
        self.say(f"version {number} of {model} is stable")
        return self.lease.record(state.model_copy(update={"phase": "rolled-back", "version": number, "previous": left}))

    def _canary(self, state: RolloutState) -> RolloutState:
        workload, policy, number = self.workload, self.policy, state.version
        if self.store.stage(workload.model, number) != "stable":
            why = f"rollout into {workload.cluster.namespace}"
            try:
                self.store.mark_canary(workload.model, number, why=why, who=self.who)
            except ModelQuarantinedError as error:  # since its canary was started
                return self._fail(state, Failure(str(error), blames_model=False))
        beside = f"beside version {state.previous}" if state.previous else "the first version here"
        self.say(f"canary: version {number} on {policy.canary_replicas} pods, {beside}")
        if state.previous is None:
            workload.apply_shared(number, self.lease.check)
        name = workload.deployment_name("canary")
        past = past_of(workload.cluster, name)
        workload.apply("canary", number, self.lease.check, policy.canary_replicas)
        version = self.store.version(workload.model, number)
        check = CanaryCheck(workload.cluster, version, policy, self.say, self._pause)
        if failure := check.pods(name, past):
            return self._fail(state, failure)
        if state.previous is None:
            reasons = ["the first version here: its golden requests count, there is no traffic to compare"]
            return self._promote(self._record(state, "promoting", reasons))
        judged = check.traffic(name, workload.deployment_name("stable"))
        for reason in judged.reasons:
            self.say(f"{judged.verdict}: {reason}")
        if judged.verdict == "failed":
            return self._fail(state, Failure("; ".join(judged.reasons), blames_model=True))
        if judged.verdict == "inconclusive":
            return self._hold(state, judged.reasons)
        return self._promote(self._record(state, "promoting", judged.reasons))

    def _hold(self, state: RolloutState, reasons: list[str]) -> RolloutState:
        if self.policy.on_inconclusive == "rollback":
            return self._fail(state, Failure("; ".join(reasons), blames_model=False))
        self._record(state, "held", reasons)
        raise RolloutInconclusiveError(
            f"version {state.version} of {self.workload.model} is neither good nor bad: {'; '.join(reasons)}. The "
            f"canary stays: `slipway rollout promote` or `abort` decides; `start {state.version}` looks again"
        )

    def _promote(self, state: RolloutState) -> RolloutState:
        model, number = self.workload.model, state.version
        try:
            require_fit(self.store, model, number)
        except StoreError as error:
            return self._fail(state, Failure(str(error), blames_model=False))
        self.say(f"promoting version {number}")
        if failure := self._serve(number):
            if number != state.previous:
                return self._fail(state, failure)
            self._record(state, "held", [failure.reason])
            raise RolloutError(
                f"version {number} of {model} does not come up with the new manifests: {failure.reason}. Pods with the "
                f"old ones serve on. Mend the overlay and run `slipway rollout start {number}` again"
            )
        self.store.promote(model, number, why="; ".join(state.reasons), who=self.who)
        self.workload.remove("canary", self.lease.check)
        self.say(f"version {number} of {model} is stable")
        return self._record(state, "promoted")

    def _fail(self, state: RolloutState, failure: Failure) -> RolloutState:
        self.say(f"failed: {failure.reason}")
        blamed = state.model_copy(update={"blames_model": failure.blames_model})
        return self.roll_back(self._record(blamed, "rolling-back", [failure.reason]))

    def _leave_stable(self, state: RolloutState) -> None:
        if state.previous is None:
            self.workload.remove("stable", self.lease.check)
            return
        previous, production = state.previous, self.store.production(self.workload.model)
        if self._is_out(previous) and production and production.number != state.version:
            previous = production.number  # where somebody went back to meanwhile, in the store alone
        self.say(f"going back to version {previous}")
        if failure := self._serve(previous):
            raise RolloutError(
                f"version {state.version} failed ({'; '.join(state.reasons)}), and version {previous} does not "
                f"come up again: {failure.reason}. Mend that and run `slipway rollout start {state.version}` again"
            )

    def _is_out(self, number: int) -> bool:
        """Whether a version was quarantined or deleted."""
        return self.store.stages(self.workload.model).get(number, "quarantined") == "quarantined"

    def _serve(self, number: int) -> Failure | None:
        """Makes a version the stable one."""
        workload = self.workload
        name = workload.deployment_name("stable")
        past = past_of(workload.cluster, name)
        workload.apply("stable", number, self.lease.check)
        return wait_ready(workload.cluster, name, self.policy.ready_seconds, self._pause, past)

    def _pause(self, seconds: float) -> None:
        """Sleeps, unless the lease is lost."""
        self.lease.check()
        self.workload.pause(seconds)

    def _record(self, state: RolloutState, phase: Phase, reasons: list[str] | None = None) -> RolloutState:
        update = {"phase": phase, "reasons": state.reasons if reasons is None else reasons}
        return self.lease.record(state.model_copy(update=update))


def require_fit(store: ModelStore, model: str, number: int) -> None:
    """Refuses a version that may not be served.

    Raises:
        ModelQuarantinedError: it was quarantined.
        StoreError: it does not exist, or was damaged.
    """
    version = store.version(model, number)
    if store.stage(model, number) == "quarantined":
        about = (event for event in reversed(store.history(model)) if number in (event.version, event.previous))
        last = next(about)
        raise ModelQuarantinedError(
            f"version {number} of {model} was quarantined by {last.who}: {last.why}. Push another version"
        )
    if problems := store.verify(version):
        listed = "; ".join(problems[:5])
        raise StoreError(f"version {number} of {model} is not what was pushed: {listed}. Push the model again")
