"""`slipway deploy`: carries out what `slipway plan` says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.plan import BaseOption, EnvOption
from cli.targets import PipelineOption

if TYPE_CHECKING:
    from cli.targets import RemoteTarget
    from delivery.deploy import Deployer
    from delivery.plan import Plan
    from delivery.sync import Synced
    from delivery.targets.base import RemoteRun, Target
    from settings.schema import Settings


def deploy(
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", help="What `slipway plan --json` printed, - for standard input; planned now without."),
    ] = None,
    base: BaseOption = None,
    env: EnvOption = None,
    pipeline: PipelineOption = "training",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show the plan, and change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow what was submitted, and fail if a run does.")] = False,
) -> None:
    """Carry a plan out: build, sync, compile, submit, apply. What is done already is skipped."""
    from cli.plan import checkout, make_plan, open_registry, print_plan
    from delivery.deploy import Deployer
    from delivery.plan import Builder, Repository
    from settings.load import load_settings

    plan = _read(plan_file, env) if plan_file else None
    environment = plan.environment if plan else env
    settings = load_settings(environment)
    plan = plan or make_plan(settings, environment, base=base, pipeline=pipeline)
    its = settings.delivery
    place = _Environment(settings, plan.environment, plan.target, plan.pipeline)
    deployer = Deployer(
        repository=Repository(checkout()),
        modules=settings.modules,
        home=settings.remote_home,
        registry=open_registry(settings),
        builder=Builder(its.builder, its.build_arguments, its.build_options),
        place=place,
        say=lambda step, what: typer.echo(f"{step}: {what}"),
    )
    if dry_run:
        deployer.check(plan)
        print_plan(plan)
    else:
        deployer.deploy(plan)
        if wait:
            _follow(deployer, plan, place.submitted)


def _follow(deployer: Deployer, plan: Plan, submitted: dict[str, tuple[Target, RemoteRun]]) -> None:
    from cli.remote_runs import print_end
    from delivery.targets.base import wait

    ended = {module: wait(target, run.id, lambda steps: None) for module, (target, run) in submitted.items()}
    for run in ended.values():
        print_end(run)
    failed = {module: run for module, run in ended.items() if run.state != "succeeded"}
    for module, run in failed.items():
        deployer.record_failure(plan, module, run)
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Environment:
    """`delivery.deploy.Place` for an environment of the settings; remembers what it submitted, by module."""

    settings: Settings
    environment: str | None
    target: RemoteTarget
    pipeline: str
    submitted: dict[str, tuple[Target, RemoteRun]] = field(default_factory=dict)

    def sync(self, module: str) -> Synced:
        from cli.sync import modules_root
        from cli.workspace import module_folder
        from delivery.sync import sync_module

        return sync_module(module_folder(self.settings, module), modules_root(self.settings))

    @contextmanager
    def compiled(self, image: str) -> Iterator[Callable[[str], RemoteRun]]:
        from cli.targets import compiled, open_target, prepare

        settings = self._with_image(image)
        target = open_target(settings, self.target, self.environment)
        with compiled(settings, self.target, pipeline=self.pipeline) as package:

            def submit(module: str) -> RemoteRun:
                run = target.submit(prepare(settings, self.target, package, module, None, {}, pipeline=self.pipeline))
                self.submitted[module] = target, run
                return run

            yield submit

    def apply_overlay(self, image: str) -> None:
        from cli.rollout import refresh_all

        refresh_all(self._with_image(image))

    def apply_schedules(self, image: str) -> None:
        from cli.schedules import wanted_schedules
        from cli.targets import open_target
        from delivery.schedules import apply

        settings = self._with_image(image)
        schedules = open_target(settings, self.target, self.environment).schedules
        with wanted_schedules(settings, self.target, self.environment, publish=True) as wanted:
            apply(wanted, schedules, lambda action: typer.echo(f"{action.verb} {action.name}: {action.why}"))

    def _with_image(self, image: str) -> Settings:
        return self.settings.model_copy(update={"image": image})


def _read(path: Path, env: str | None) -> Plan:
    from delivery.plan import parse_plan
    from slipway.errors import ConfigError

    if str(path) == "-":
        plan = parse_plan(sys.stdin.read(), "standard input")
    else:
        try:
            plan = parse_plan(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
    if env and env != plan.environment:
        raise ConfigError(f"--env {env}: the plan is for {plan.environment or 'base.yaml'}; make one for {env}")
    return plan
