"""`slipway plan`: what a commit makes necessary, why, and by which commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import JsonOption, print_json, print_table
from cli.targets import PipelineOption

if TYPE_CHECKING:
    from delivery.plan import Plan, Registry
    from settings.schema import Settings

EnvOption = Annotated[
    str | None, typer.Option("--env", help="Settings of settings/<ENV>.yaml; SLIPWAY_ENV by default.")
]
BaseOption = Annotated[
    str | None, typer.Option(help="What was there before; the commit before HEAD by default. Zeros: nothing.")
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Look nothing up; go by what changed since the base.")]


def plan(
    base: BaseOption = None,
    head: Annotated[str, typer.Option(help="The revision to plan.")] = "HEAD",
    env: EnvOption = None,
    pipeline: PipelineOption = "training",
    offline: OfflineOption = False,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Say what a commit makes necessary: image, modules, runs, overlays. Nothing is changed."""
    from settings.load import load_settings

    found = make_plan(load_settings(env), env, base=base, head=head, offline=offline, pipeline=pipeline)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_plan(found)


def make_plan(
    settings: Settings,
    environment: str | None,
    *,
    base: str | None,
    head: str = "HEAD",
    offline: bool = False,
    pipeline: str = "training",
) -> Plan:
    """The plan for one environment; see `delivery.plan.plan_revision`."""
    import os

    from delivery.plan import Builder, Place, Repository, Scope, plan_revision

    its = settings.delivery
    place = Place(
        scope=Scope(environment or os.environ.get("SLIPWAY_ENV"), settings.serving.overlay),
        target=its.target,
        pipeline=pipeline,
        repository=its.image_repository,
        image=settings.image,
        builder=Builder(its.builder, its.build_arguments, its.build_options),
    )
    registry = None if offline else open_registry(settings)
    return plan_revision(
        Repository(checkout()), place, registry, settings.remote_home, base=base, head=head, offline=offline
    )


def open_registry(settings: Settings) -> Registry | None:
    """Where images are; None if the settings name no repository."""
    from delivery.registry import ImageRegistry

    repository = settings.delivery.image_repository
    return ImageRegistry(repository) if repository else None


def checkout() -> Path:
    """The checkout that one stands in, if it is one of this project; else the one that this command is of."""
    from cli.workspace import PROJECT

    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "settings" / "base.yaml").is_file()), PROJECT)


def print_plan(plan: Plan) -> None:
    """The plan as text: a line for each thing, the paths behind it, then the commands."""
    compared = f"compared with {plan.base[:12]}" if plan.base else "compared with nothing"
    from delivery.plan import shorten

    typer.echo(f"{plan.head[:12]} for {plan.environment or 'base.yaml'}, {compared}")
    for warning in plan.warnings:
        typer.secho(f"note: {warning}", fg=typer.colors.YELLOW)
    rows = [
        [
            reason.action if reason.action != "none" else "-",
            reason.subject,
            reason.why + (f" ({shorten(reason.paths)})" if reason.paths and reason.action != "none" else ""),
        ]
        for reason in plan.reasons
    ]
    typer.echo()
    print_table(["", "what", "why"], rows)
    typer.echo("\nnothing to do" if plan.is_empty else "\nslipway deploy carries this out; step by step:")
    for command in plan.commands:
        typer.echo(f"  {command}")
