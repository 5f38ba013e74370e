"""Carries a plan out: image, modules, runs, overlay, schedules. Finished steps are skipped."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from delivery.deployments import BASE, MANIFESTS, Deployment, module_unit, read_latest, record
from delivery.environment import Environment
from delivery.plan import Plan, changed_in_checkout, shorten
from delivery.rollout import refresh
from delivery.schedules import apply
from delivery.submission import compiled, prepare, recurring_runs
from delivery.sync import Synced, sync_module
from delivery.targets.base import RemoteRun
from slipway.errors import ConfigError, DeliveryError, SlipwayError
from slipway.stores.module_store import digest_module
from slipway.targets import RemoteTarget


@dataclass(frozen=True)
class Effects:
    """All that a deployment changes in an environment; `submitted` has the runs by module."""

    environment: Environment
    target: RemoteTarget
    pipeline: str
    say: Callable[[str], None]
    submitted: dict[str, RemoteRun] = field(default_factory=dict)

    def sync(self, module: str) -> Synced:
        """Publishes a module."""
        [folder] = self.environment.module_folders([module])
        return sync_module(folder, self.environment.state.modules)

    @contextmanager
    def compiled(self, image: str) -> Iterator[Callable[[str], RemoteRun]]:
        """Compiles the pipeline for an image by digest; the value submits it for a module."""
        environment = self.environment.with_image(image)
        target = environment.target(self.target)
        with compiled(environment, self.target, self.pipeline) as package:

            def submit(module: str) -> RemoteRun:
                submission = prepare(environment, self.target, package, module, pipeline=self.pipeline)
                self.submitted[module] = target.submit(submission)
                return self.submitted[module]

            yield submit

    def apply_overlay(self, image: str) -> None:
        """Rolls the overlay out for all models that are served."""
        refresh(self.environment.with_image(image), self.say)

    def apply_schedules(self, image: str) -> None:
        """Creates, replaces and removes recurring runs as the settings say."""
        environment = self.environment.with_image(image)
        with recurring_runs(environment, self.target, publish=True) as wanted:
            schedules = environment.target(self.target).schedules
            apply(wanted, schedules, lambda action: self.say(f"{action.verb} {action.name}: {action.why}"))


@dataclass(frozen=True)
class Deployer:
    """One deployment.

    Attributes:
        environment: Where; the image is built from its checkout, and its remote_home has the records.
        effects: What is done to it.
        say: Called with each step's name and its result.
    """

    environment: Environment
    effects: Effects
    say: Callable[[str, str], None]

    def check(self, plan: Plan) -> None:
        """Refuses a plan that the checkout or the settings do not match.

        Raises:
            DeliveryError: the checkout is at another commit, or is not what Git has.
            ConfigError: the settings lack what the plan needs.
        """
        repository, modules = self.environment.checkout, self.environment.settings.modules
        head = repository.commit("HEAD")
        if head != plan.head:
            raise DeliveryError(f"the plan is for {plan.head}, and the checkout is at {head}: check that commit out")
        if paths := changed_in_checkout(repository):
            raise DeliveryError(f"not committed: {shorten(paths)}; commit or stash it: what is deployed must be in Git")
        for module in sorted({*plan.modules, *plan.pipelines}):
            if digest_module(modules / module) != plan.module_digests[module]:
                raise DeliveryError(
                    f"{modules / module} is not what Git has: it holds files that Git ignores. Remove them "
                    f"(`git clean -dX {modules / module}` does), or track them"
                )
        if not self._home:
            raise ConfigError("remote_home is not set: set remote_home: gs://BUCKET/slipway in the settings")
        if plan.image and not plan.image_reference:
            raise ConfigError(
                "the image has to be built, and the settings name no delivery.image_repository to push to"
            )

    def deploy(self, plan: Plan) -> None:
        """Carries all steps of the plan out, in order; the first failure ends it.

        Raises:
            DeliveryError: a step failed; earlier steps are done, later ones were not begun.
        """
        self.check(plan)
        image = ""
        if plan.image or plan.pipelines or plan.manifests:
            with self._step("image"):
                image = self._image(plan)
        else:
            self.say("image", "skipped: nothing needs it")
        for module in plan.modules:
            with self._step(f"sync {module}"):
                synced = self.effects.sync(module)
                self.say(
                    f"sync {module}", f"{'published' if synced.uploaded else 'already there'}: {synced.module.uri}"
                )
        self._submit(plan, image)
        for overlay in plan.manifests:
            with self._step(f"apply {overlay}"):
                self.effects.apply_overlay(image)
                self._record(plan, MANIFESTS, plan.overlay_key(), image)
                self.say(f"apply {overlay}", "done")
        if plan.schedules:
            with self._step("schedules"):
                self.effects.apply_schedules(image)
                self.say("schedules", "as the settings say")
        for reason in plan.reasons:
            if reason.action == "none":
                self.say(reason.subject, f"skipped: {reason.why}")

    def record_failure(self, plan: Plan, module: str, run: RemoteRun) -> None:
        """Records that a submitted run failed, so that the next plan submits it again."""
        self._record(plan, module_unit(module, plan.pipeline), plan.run_key(module), run=run, failed=True)

    def _image(self, plan: Plan) -> str:
        """The image by digest; built, if the registry does not have it."""
        registry = self.environment.registry
        if registry is None:
            if not plan.image_digest:
                raise ConfigError("set delivery.image_repository, or image, by digest, in the settings")
            self.say("image", f"{plan.image_digest}, from the settings")
            return plan.image_digest
        if found := registry.digest(plan.image_tag):
            self.say("image", f"already there: {found}")
            return found
        self._execute(self.environment.builder.build(plan.image_reference, plan.head))
        self._execute(self.environment.builder.push(plan.image_reference))
        built = registry.digest(plan.image_tag)
        if built is None:
            raise DeliveryError(f"{plan.image_reference} was pushed, and the registry does not have it; run it again")
        self.say("image", f"built and pushed: {built}")
        return built

    def _execute(self, command: list[str]) -> None:
        if shutil.which(command[0]) is None:
            raise DeliveryError(f"{command[0]} is not installed; install it, or set delivery.builder")
        code = subprocess.run(command, cwd=self.environment.checkout.folder, check=False).returncode
        if code:
            raise DeliveryError(f"`{' '.join(command)}` ended with {code}; its output is above")

    def _submit(self, plan: Plan, image: str) -> None:
        if not plan.pipelines:
            return
        latest = read_latest(self._home, plan.environment)
        waiting = []
        for module in plan.pipelines:
            done = latest.get(module_unit(module, plan.pipeline))
            if done and not done.failed and done.key == plan.run_key(module):
                self.say(f"submit {module}", f"already done: {done.run} {done.url}".rstrip())
            else:
                waiting.append(module)
        if not waiting:
            return
        with self._step("compile"), self.effects.compiled(image) as submit:
            self.say("compile", f"the {plan.pipeline} pipeline for {plan.target}")
            for module in waiting:
                with self._step(f"submit {module}"):
                    run = submit(module)
                    self._record(plan, module_unit(module, plan.pipeline), plan.run_key(module), image, run)
                    self.say(f"submit {module}", f"{run.name} {run.url}".rstrip())

    def _record(
        self,
        plan: Plan,
        unit: str,
        key: dict[str, str],
        image: str = "",
        run: RemoteRun | None = None,
        *,
        failed: bool = False,
    ) -> None:
        deployment = Deployment(
            unit=unit,
            environment=plan.environment or BASE,
            key=key,
            revision=plan.head,
            image=image,
            run=run.name if run else "",
            url=run.url if run else "",
            failed=failed,
            finished=datetime.now(UTC),
        )
        record(self._home, deployment)

    @property
    def _home(self) -> str:
        return self.environment.settings.remote_home

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        try:
            yield
        except StepFailedError:
            raise
        except SlipwayError as error:
            raise StepFailedError(
                f"{name} failed, and nothing after it was begun: {error}\n"
                "Mend it and run the same again: finished steps are skipped"
            ) from error


class StepFailedError(DeliveryError):
    """A step of a deployment failed; the message names it."""
