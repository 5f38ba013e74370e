"""Carries a plan out: image, modules, runs, overlay, schedules. Finished steps are skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from delivery.deployments import BASE, MANIFESTS, Deployment, module_unit, read_latest, record
from delivery.environment import Environment
from delivery.images import build_and_push, build_layer
from delivery.plan.planner import Plan, changed_in_checkout, shorten
from delivery.rollout import refresh
from delivery.schedules import apply
from delivery.submission import prepared, recurring_runs
from delivery.targets.base import RemoteRun
from slipway.errors import ConfigError, DeliveryError, SlipwayError
from slipway.module_kit.check import check_module
from slipway.stores.module_store import PublishedModule, digest_module, is_published, publish_module, read_files


def sync_module(folder: Path, root: str) -> tuple[PublishedModule, bool]:
    """Checks a module and publishes it as `<root>/<name>/<digest>/`; returns it, and whether it was uploaded now.

    Raises:
        ModuleError: the module breaks the contract, is too large or holds a symbolic link.
        StoreError: it cannot be written, or other files are in its place.
    """
    check_module(folder)
    was_there = is_published(folder.resolve().name, read_files(folder), root)
    return publish_module(folder, root), not was_there


@dataclass(frozen=True)
class Deployer:
    """One deployment.

    Attributes:
        environment: Where; the image is built from its checkout, and its remote_home has the records.
        plan: What is done.
        say: Called with a line for each step.
        submitted: The runs that were started, by module.
    """

    environment: Environment
    plan: Plan
    say: Callable[[str], None]
    submitted: dict[str, RemoteRun] = field(default_factory=dict)

    def check(self) -> None:
        """Refuses a plan that the checkout or the settings do not match.

        Raises:
            DeliveryError: the checkout is at another commit, or is not what Git has.
            ConfigError: the settings lack what the plan needs.
        """
        plan, repository, modules = self.plan, self.environment.checkout, self.environment.settings.modules
        head = repository.commit("HEAD")
        if head != plan.head:
            raise DeliveryError(f"the plan is for {plan.head}, and the checkout is at {head}: check that commit out")
        if paths := changed_in_checkout(repository):
            raise DeliveryError(f"not committed: {shorten(paths)}; commit or stash it: what is deployed must be in Git")
        for module in sorted({*plan.layers, *plan.modules, *plan.pipelines}):
            if digest_module(modules / module) != plan.module_digests[module]:
                raise DeliveryError(
                    f"{modules / module} is not what Git has: it holds files that Git ignores. Remove them "
                    f"(`git clean -dX {modules / module}` does), or track them"
                )
        if not self._home:
            raise ConfigError(
                "remote_home is not set: set it in the settings to gs://BUCKET/slipway or s3://BUCKET/slipway"
            )
        if (plan.image or plan.gpu_image) and not plan.image_reference:
            raise ConfigError("the image has to be built: set delivery.image_repository, to which it is pushed")

    def overtaken_by(self) -> str | None:
        """A later commit that the environment has already; None if it has none, or if this clone does not know it.

        A plan waits for its approval while others are carried out: to go on would put the environment back.
        """
        latest = read_latest(self._home, self.plan.environment) if self._home else {}
        later = (its.revision for its in latest.values())
        return next((its for its in later if self.environment.checkout.comes_before(self.plan.head, its)), None)

    def deploy(self) -> None:
        """Carries all steps of the plan out, in order; the first failure ends it.

        Raises:
            DeliveryError: a step failed; earlier steps are done, later ones were not begun.
        """
        plan = self.plan
        self.check()
        schedules = plan.schedules or self._schedules_are_stale()
        image = gpu_image = ""
        if plan.image or plan.gpu_image or plan.layers or plan.pipelines or plan.manifests or schedules:
            with self._step("image"):
                image = self._image("image", plan.image_tag, plan.image_digest)
            if plan.gpu_image_tag:
                with self._step("gpu-image"):
                    gpu_image = self._image("gpu-image", plan.gpu_image_tag, plan.gpu_image_digest)
        else:
            self.say("image: skipped: nothing needs it")
        environment = self.environment.with_image(image, gpu_image)
        layers = {}
        for module in plan.requirements if plan.layers or plan.pipelines or schedules else ():
            with self._step(f"image {module}"):
                layers[module] = self._layer(module, image)
                if gpu_image:
                    self._layer(module, gpu_image)
        for module in plan.modules:
            with self._step(f"sync {module}"):
                published, uploaded = self._sync(module)
                self.say(f"sync {module}: {'published' if uploaded else 'already there'}: {published.uri}")
        self._submit_all(environment, layers)
        for overlay in plan.manifests:
            with self._step(f"apply {overlay}"):
                self._apply_overlay(environment)
                self._record(MANIFESTS, plan.overlay_key(), image)
                self.say(f"apply {overlay}: done")
        if schedules:
            with self._step("schedules"):
                self._apply_schedules(environment)
                self.say("schedules: already match the settings")
        for reason in plan.reasons:
            if reason.action == "none":
                self.say(f"{reason.subject}: skipped: {reason.why}")

    def record_failure(self, module: str, run: RemoteRun) -> None:
        """Records that a submitted run failed, so that the next plan submits it again."""
        self._record(self._unit(module), self.plan.run_key(module), run=run, failed=True)

    def _image(self, subject: str, tag: str, known: str) -> str:
        """One of the images by digest; built, if the registry does not have it."""
        registry, builder = self.environment.registry, self.environment.builder
        if registry is None:
            if not known:
                setting = subject.replace("-", "_")
                raise ConfigError(f"set delivery.image_repository, or {setting}, by digest, in the settings")
            self.say(f"{subject}: {known}, from the settings")
            return known
        if found := registry.digest(tag):
            self.say(f"{subject}: already there: {found}")
            return found
        builder = builder if subject == "image" else builder.for_gpus
        commands = builder.commands(f"{registry.repository}:{tag}", self.plan.head)
        built = build_and_push(commands, self.environment.checkout.folder, registry, tag)
        self.say(f"{subject}: built and pushed: {built}")
        return built

    def _layer(self, module: str, image: str) -> str:
        """The layer of a module on the image, by digest; built, if the registry does not have it."""
        [folder] = self.environment.module_folders([module])
        layer, built = build_layer(folder, image, self.environment.builder, self.environment.checkout.folder)
        self.say(f"image {module}: {'built and pushed' if built else 'already there'}: {layer}")
        return layer

    def _submit_all(self, environment: Environment, layers: Mapping[str, str]) -> None:
        latest = read_latest(self._home, self.plan.environment) if self.plan.pipelines else {}
        waiting = []
        for module in self.plan.pipelines:
            done = latest.get(self._unit(module))
            if done and not done.failed and done.key == self.plan.run_key(module):
                self.say(f"submit {module}: already done: {done.run} {done.url}".rstrip())
            else:
                waiting.append(module)
        for module in waiting:
            with self._step(f"submit {module}"):
                run = self.submitted[module] = self._submit(module, environment)
                image = layers.get(module, environment.settings.image)
                self._record(self._unit(module), self.plan.run_key(module), image, run)
                self.say(f"submit {module}: {run.name} {run.url}".rstrip())

    # What changes the environment

    def _sync(self, module: str) -> tuple[PublishedModule, bool]:
        [folder] = self.environment.module_folders([module])
        return sync_module(folder, self.environment.state.modules)

    def _submit(self, module: str, environment: Environment) -> RemoteRun:
        """Compiles the pipeline for a module and the environment's images, and starts a run."""
        name, pipeline = self.plan.target, self.plan.pipeline
        with prepared(environment, name, module, pipeline=pipeline) as submission:
            return environment.target(name).submit(submission)

    def _apply_overlay(self, environment: Environment) -> None:
        refresh(environment, self.say)

    def _schedules_are_stale(self) -> bool:
        """Whether an upgrade of the target, of which no commit knows, made recurring runs stale."""
        if not self.environment.settings.schedules:
            return False
        with self._step("schedules"):
            return any(one.stale for one in self.environment.target(self.plan.target).schedules.list())

    def _apply_schedules(self, environment: Environment) -> None:
        with recurring_runs(environment, self.plan.target, publish=True) as wanted:
            schedules = environment.target(self.plan.target).schedules
            apply(wanted, schedules, lambda action: self.say(f"{action.verb} {action.name}: {action.why}"))

    def _record(
        self, unit: str, key: dict[str, str], image: str = "", run: RemoteRun | None = None, *, failed: bool = False
    ) -> None:
        deployment = Deployment(
            unit=unit,
            environment=self.plan.environment or BASE,
            key=key,
            revision=self.plan.head,
            image=image,
            run=run.name if run else "",
            url=run.url if run else "",
            failed=failed,
            finished=datetime.now(UTC),
        )
        record(self._home, deployment)

    def _unit(self, module: str) -> str:
        return module_unit(module, self.plan.pipeline)

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
                "Fix it and run the same again: finished steps are skipped"
            ) from error


class StepFailedError(DeliveryError):
    """A step of a deployment failed; the message names it."""
