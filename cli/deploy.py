"""`slipway deploy`: carries out a plan of `slipway plan`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.output import echo
from cli.plan import print_plan
from cli.remote_runs import print_end
from delivery.deploy import Deployer
from delivery.environment import open_environment
from delivery.plan.planner import Plan, parse_plan
from delivery.targets.base import wait
from slipway.errors import ConfigError
from slipway.lineage import DEFAULT_PIPELINE


def deploy(
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", help="Output of `slipway plan --json`, - for standard input; planned now without."),
    ] = None,
    base: options.Base = None,
    env: options.Env = None,
    pipeline: options.Pipeline = DEFAULT_PIPELINE,
    dry_run: options.DryRun = False,
    follow: Annotated[bool, typer.Option("--wait", help="Follow the submitted runs, and fail if one does.")] = False,
) -> None:
    """Carry a plan out: build, sync, compile, submit, apply. Finished steps are skipped."""
    plan = _read(plan_file, env, pipeline) if plan_file else None
    environment = open_environment(plan.environment if plan else env)
    plan = plan or environment.plan(base=base, pipeline=pipeline)
    deployer = Deployer(environment, plan, echo)
    if dry_run:
        deployer.check()
        print_plan(plan)
    else:
        deployer.deploy()
        if follow:
            _follow(deployer)


def _follow(deployer: Deployer) -> None:
    cluster = deployer.environment.target(deployer.plan.target)
    ended = {module: wait(cluster, run.id, lambda steps: None) for module, run in deployer.submitted.items()}
    for run in ended.values():
        print_end(run)
    failed = {module: run for module, run in ended.items() if run.state != "succeeded"}
    for module, run in failed.items():
        deployer.record_failure(module, run)
    if failed:
        raise typer.Exit(1)


def _read(path: Path, env: str | None, pipeline: str) -> Plan:
    if str(path) == "-":
        plan = parse_plan(sys.stdin.read(), "standard input")
    else:
        try:
            plan = parse_plan(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
    if env and env != plan.environment:
        raise ConfigError(f"--env {env}: the plan is for {plan.environment or 'base.yaml'}; make one for {env}")
    if pipeline not in (DEFAULT_PIPELINE, plan.pipeline):
        raise ConfigError(f"--pipeline {pipeline}: the plan is for {plan.pipeline}; make one for {pipeline}")
    return plan
