"""`slipway plan`, `deploy` and `sync`: what a commit makes necessary, and carrying it out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.output import echo, print_json, print_table
from cli.run_output import print_end
from delivery.deploy import Deployer, sync_module
from delivery.environment import open_environment
from delivery.plan.planner import Plan, parse_plan, shorten
from delivery.targets.base import wait
from slipway.errors import ConfigError
from slipway.targets import DEFAULT_PIPELINE

Base = Annotated[str | None, typer.Option(help="Revision to compare with, zeros for none; HEAD^ by default.")]


def plan(
    base: Base = None,
    head: Annotated[str, typer.Option(help="The revision to plan.")] = "HEAD",
    env: options.Env = None,
    pipeline: options.Pipeline = DEFAULT_PIPELINE,
    offline: Annotated[bool, typer.Option("--offline", help="Look nothing up: the base counts as deployed.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show what a commit makes necessary: image, modules, runs, overlays. Nothing is changed."""
    found = open_environment(env).plan(base=base, head=head, offline=offline, pipeline=pipeline)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print_plan(found)


def deploy(
    plan_file: Annotated[Path | None, typer.Option("--plan", help="Output of `slipway plan --json`, or -.")] = None,
    base: Base = None,
    env: options.Env = None,
    pipeline: options.Pipeline = DEFAULT_PIPELINE,
    dry_run: options.DryRun = False,
    follow: options.Wait = False,
) -> None:
    """Carry a plan out: build, sync, compile, submit, apply. Finished steps are skipped."""
    plan = _read(plan_file, env, pipeline) if plan_file else None
    environment = open_environment(plan.environment if plan else env)
    plan = plan or environment.plan(base=base, pipeline=pipeline)
    deployer = Deployer(environment, plan, echo)
    if dry_run:
        deployer.check()
        _print_plan(plan)
    elif plan_file and (later := deployer.overtaken_by()):
        where = plan.environment or "base.yaml"
        echo(f"nothing deployed: {where} has {later[:12]} already, which came after {plan.head[:12]} of this plan")
    else:
        deployer.deploy()
        if follow:
            _follow(deployer)


def _follow(deployer: Deployer) -> None:
    cluster = deployer.environment.target(deployer.plan.target)
    ended = {module: wait(cluster, run.id, lambda run: None) for module, run in deployer.submitted.items()}
    for run in ended.values():
        print_end(run)
    failed = {module: run for module, run in ended.items() if run.state != "succeeded"}
    for module, run in failed.items():
        deployer.record_failure(module, run)
    if failed:
        raise typer.Exit(1)


def sync(
    modules: Annotated[list[str] | None, typer.Argument(help="Folders under modules/; all by default.")] = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Publish modules under their digests, to remote_home of the settings, or to the home of local runs without one."""
    environment = open_environment(env)
    done = []
    for folder in environment.module_folders(modules):
        module, uploaded = sync_module(folder, environment.state.modules)
        done.append({"module": module.name, "digest": module.digest, "uri": module.uri, "uploaded": uploaded})
        if not as_json:
            echo(f"{module.name}: {'published' if uploaded else 'already there'}: {module.uri}")
    if as_json:
        print_json(done)


def _read(path: Path, env: str | None, pipeline: str) -> Plan:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    found = parse_plan(text, "standard input" if str(path) == "-" else str(path))
    if env and env != found.environment:
        raise ConfigError(f"--env {env}: the plan is for {found.environment or 'base.yaml'}; make one for {env}")
    if pipeline not in (DEFAULT_PIPELINE, found.pipeline):
        raise ConfigError(f"--pipeline {pipeline}: the plan is for {found.pipeline}; make one for {pipeline}")
    return found


def _print_plan(plan: Plan) -> None:
    """Prints a line for each subject, with the paths behind it, then the commands."""
    compared = f"compared with {plan.base[:12]}" if plan.base else "compared with nothing"
    echo(f"{plan.head[:12]} for {plan.environment or 'base.yaml'}, {compared}")
    for warning in plan.warnings:
        echo(f"note: {warning}", fg=typer.colors.YELLOW)
    rows = []
    for reason in plan.reasons:
        idle = reason.action == "none"
        paths = f" ({shorten(reason.paths)})" if reason.paths and not idle else ""
        rows.append(["-" if idle else reason.action, reason.subject, reason.why + paths])
    echo("")
    print_table(["", "what", "why"], rows)
    command = "slipway deploy" + (f" --env {plan.environment}" if plan.environment else "")
    command += "" if plan.pipeline == DEFAULT_PIPELINE else f" --pipeline {plan.pipeline}"
    echo("\nnothing to do" if plan.is_empty else f"\n`{command}` carries this out; step by step:")
    for line in plan.commands:
        echo(f"  {line}")
