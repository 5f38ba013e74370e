"""The steps of a rollout, under its lease.

Each is recorded before it is taken, and can be repeated, so that another process can go on. Production changes by one
write: that of the stable Deployment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.rollout.canary_check import CanaryCheck
from serving.rollout.lease import Phase, RolloutLease, RolloutState
from serving.rollout.overlays import Overlay, Overlays
from serving.rollout.pods import Failure
from serving.rollout.policy import RolloutPolicy
from serving.rollout.workload import Workload
from slipway.errors import ModelQuarantinedError, RolledBackError, RolloutError, RolloutInconclusiveError, StoreError
from slipway.stores.model_store import ModelStore


@dataclass(frozen=True)
class Steps:
    """See `Rollout` for the attributes."""

    workload: Workload
    store: ModelStore
    overlays: Overlays
    policy: RolloutPolicy
    lease: RolloutLease
    who: str
    says: str
    say: Callable[[str], None]

    def go_on(self, state: RolloutState) -> RolloutState:
        """Takes the step of a state, and the following ones."""
        if not state.overlay:  # a release that did not record overlays began it
            state = self.lease.record(state, overlay=self.overlays.find(state.version, []).digest)
        if state.phase == "promoting":
            return self._promote(state)
        if state.phase == "rolling-back":
            return self.roll_back(state)
        return self._canary(state)

    def roll_back(self, state: RolloutState, ended: Phase = "rolled-back") -> RolloutState:
        """Ends the rollout of a version: stable stays at, or returns to, the previous one.

        Raises:
            RolledBackError: always, unless the rollout was aborted.
        """
        model, number, why = self.workload.model, state.version, "; ".join(state.reasons)
        if self._serves(state):
            state = self._leave_stable(state)
        self.workload.remove("canary")
        is_stable = self.store.stage(model, number) == "stable"
        if state.previous not in {None, number} and is_stable and not self._is_out(state.previous):
            # It was promoted by a process that died right after that; or by hand, in the model store alone.
            self.store.promote(model, state.previous, why=why, who=self.who, says=self.says)
        if self.store.stage(model, number) not in {"stable", "quarantined"}:
            judge = self.store.quarantine if state.blames_model else self.store.retire
            judge(model, number, why=why, who=self.who, says=self.says)
        self._collect(state)
        state = self.lease.record(state, phase=ended)
        fates = {"quarantined": "is quarantined", "stable": "stays the stable one, with the manifests that it had"}
        fate = fates.get(self.store.stage(model, number), "was not judged: it may be started again")
        serves = self.workload.stable_version()
        stays = f"version {serves} serves" if serves else "nothing serves"
        if ended == "aborted":
            self.say(f"version {number} of {model} {fate}; {stays}")
            return state
        raise RolledBackError(f"version {number} of {model} was rolled back and {fate}; {stays}. Why: {why}", number)

    def revert(self, state: RolloutState, number: int) -> RolloutState:
        """Serves the version that the store went back to, instead of the state's, with the overlay that it had."""
        model, left = self.workload.model, state.version
        state = self.lease.record(state)
        self.say(f"version {left} of {model} is quarantined; going back to version {number}")
        overlay = self._overlay_before(state, number)
        if failure := self.workload.serve("stable", number, overlay):
            raise RolloutError(
                f"version {number} does not become ready: {failure.reason}. Fix it, or go back to another of "
                f"`slipway models list {model}` by `slipway models rollback {model} --to VERSION`; then run "
                f"`slipway rollout rollback {model}` again"
            )
        self._finish(number)
        its = {"version": number, "previous": left, "left": left, "overlay": overlay.digest}
        return self.lease.record(state, phase="rolled-back", **its, overlays=state.ran(number, overlay.digest))

    def _canary(self, state: RolloutState) -> RolloutState:
        workload, policy, number = self.workload, self.policy, state.version
        if self.store.stage(workload.model, number) != "stable":
            why = "; ".join([f"rollout into {workload.cluster.namespace}", *state.reasons])
            try:
                self.store.mark_canary(workload.model, number, why=why, who=self.who, says=self.says)
            except ModelQuarantinedError as error:  # since its canary was started
                return self._fail(state, Failure(str(error), blames_model=False))
        beside = f"beside version {state.previous}" if state.previous else "the first version here"
        self.say(f"canary: version {number} on {policy.canary_replicas} pods, {beside}")
        overlay = self.overlays.read(state.overlay)
        if state.previous is None:
            workload.apply("stable", number, overlay, only_shared=True)
        name = workload.deployment_name("canary")
        failure = workload.serve("canary", number, overlay, policy.canary_replicas)
        if failure:
            return self._fail(state, failure)
        self.say(f"{name} is ready with version {number}")
        version = self.store.version(workload.model, number)
        check = CanaryCheck(workload.cluster, version, policy, self.say, workload.pause)
        if failure := check.golden(name):
            return self._fail(state, failure)
        if state.previous is None:
            reasons = ["the first version here: only its golden requests are checked, there is no traffic to compare"]
            return self._promote(self.lease.record(state, phase="promoting", reasons=reasons))
        judged = check.traffic(name, workload.deployment_name("stable"))
        if isinstance(judged, Failure):
            return self._fail(state, judged)
        for reason in judged.reasons:
            self.say(f"{judged.verdict}: {reason}")
        if judged.verdict == "passed":
            return self._promote(self.lease.record(state, phase="promoting", reasons=judged.reasons))
        failed, why = judged.verdict == "failed", "; ".join(judged.reasons)
        if failed or policy.on_inconclusive == "rollback":
            return self._fail(state, Failure(why, blames_model=failed))
        self.lease.record(state, phase="held", reasons=judged.reasons)
        raise RolloutInconclusiveError(
            f"version {number} of {workload.model} cannot be judged: {why}. The canary stays: decide with `slipway "
            f"rollout promote {workload.model}` or `slipway rollout abort {workload.model}`, or check again with "
            f"`slipway rollout start {workload.model}/{number}`"
        )

    def _promote(self, state: RolloutState) -> RolloutState:
        model, number = self.workload.model, state.version
        try:
            require_fit(self.store, model, number)
        except StoreError as error:
            return self._fail(state, Failure(str(error), blames_model=False))
        self.say(f"promoting version {number}")
        overlay = self.overlays.read(state.overlay)
        if failure := self.workload.serve("stable", number, overlay):
            if number != state.previous:
                return self._fail(state, failure)
            self.lease.record(state, phase="held", reasons=[failure.reason])
            raise RolloutError(
                f"version {number} of {model} is not ready with the new manifests: {failure.reason}. Pods with the old "
                f"ones still serve. Fix what hinders it, and run `slipway rollout start {model}/{number}` again; to "
                f"change the overlay, first `slipway rollout abort {model}`"
            )
        self.store.promote(model, number, why="; ".join(state.reasons), who=self.who, says=self.says)
        self._finish(number)
        return self.lease.record(state, phase="promoted", overlays=state.ran(number, state.overlay))

    def _fail(self, state: RolloutState, failure: Failure) -> RolloutState:
        self.say(f"failed: {failure.reason}")
        changes = {"reasons": [failure.reason], "blames_model": failure.blames_model}
        return self.roll_back(self.lease.record(state, phase="rolling-back", **changes))

    def _serves(self, state: RolloutState) -> bool:
        """Whether stable serves the version of the rollout; or the same version as before, with the new overlay."""
        if self.workload.stable_version() != state.version or state.version != state.previous:
            return self.workload.stable_version() == state.version
        return self.workload.stable_overlay() == state.overlay != state.overlays.get(state.version, state.overlay)

    def _leave_stable(self, state: RolloutState) -> RolloutState:
        if state.previous is None:
            self.workload.remove("stable")
            return state
        previous, production = state.previous, self.store.production(self.workload.model)
        if self._is_out(previous) and production and production.number != state.version:
            previous = production.number  # where somebody went back to meanwhile, in the store alone
        self.say(f"going back to version {previous}")
        overlay = self._overlay_before(state, previous)
        if failure := self.workload.serve("stable", previous, overlay):
            again = f"`slipway rollout start {self.workload.model}/{state.version}`"
            raise RolloutError(
                f"version {state.version} failed ({'; '.join(state.reasons)}), and version {previous} does not "
                f"become ready: {failure.reason}. Fix that and run {again} again"
            )
        return state.model_copy(update={"overlays": state.ran(previous, overlay.digest)})

    def _overlay_before(self, state: RolloutState, number: int) -> Overlay:
        """The overlay with which a version last ran here; else the one that serves now."""
        return self.overlays.find(number, [state.overlays.get(number, ""), self.workload.stable_overlay()])

    def _collect(self, state: RolloutState) -> None:
        """Removes what a failed version leaves in the cluster."""
        if state.previous is None and state.overlay and self.workload.stable_version() is None:
            self.workload.remove_all(state.version, self.overlays.read(state.overlay))
        self.workload.collect_pins()

    def _is_out(self, number: int) -> bool:
        """Whether a version was quarantined or deleted."""
        return self.store.stages(self.workload.model).get(number, "quarantined") == "quarantined"

    def _finish(self, number: int) -> None:
        self.workload.remove("canary")
        self.workload.collect_pins()
        self.say(f"version {number} of {self.workload.model} is stable")


def require_fit(store: ModelStore, model: str, number: int) -> None:
    """Raises `ModelQuarantinedError` for a version that was quarantined, `StoreError` for a missing or damaged one."""
    version = store.version(model, number)
    if store.stage(model, number) == "quarantined":
        last = [event for event in store.history(model) if number in (event.version, event.previous)][-1]
        raise ModelQuarantinedError(
            f"version {number} of {model} was quarantined by {last.actor}: {last.why}. Push another version, or lift "
            f"that: `slipway models release {model}/{number}`"
        )
    if problems := store.verify(version):
        listed = "; ".join(problems[:5])
        raise StoreError(f"version {number} of {model} is not what was pushed: {listed}. Push the model again")
