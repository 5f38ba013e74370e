"""`slipway plan`: what a commit makes necessary, why, and by which commands."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.output import echo, print_json, print_table
from delivery.environment import open_environment
from delivery.plan.planner import Plan, shorten
from slipway.lineage import DEFAULT_PIPELINE


def plan(
    base: options.Base = None,
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
        print_plan(found)


def print_plan(plan: Plan) -> None:
    """Prints the plan: a line for each thing, the paths behind it, then the commands."""
    compared = f"compared with {plan.base[:12]}" if plan.base else "compared with nothing"
    echo(f"{plan.head[:12]} for {plan.environment or 'base.yaml'}, {compared}")
    for warning in plan.warnings:
        echo(f"note: {warning}", fg=typer.colors.YELLOW)
    rows = [
        [
            reason.action if reason.action != "none" else "-",
            reason.subject,
            reason.why + (f" ({shorten(reason.paths)})" if reason.paths and reason.action != "none" else ""),
        ]
        for reason in plan.reasons
    ]
    echo("")
    print_table(["", "what", "why"], rows)
    deploy = "slipway deploy" + (f" --env {plan.environment}" if plan.environment else "")
    deploy += "" if plan.pipeline == DEFAULT_PIPELINE else f" --pipeline {plan.pipeline}"
    echo("\nnothing to do" if plan.is_empty else f"\n`{deploy}` carries this out; step by step:")
    for command in plan.commands:
        echo(f"  {command}")
