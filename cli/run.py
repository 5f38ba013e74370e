"""`slipway run`: the training pipeline on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import JsonOption, print_json
from cli.targets import PipelineOption

if TYPE_CHECKING:
    from slipway.module_api import ModuleConfig


def run(
    module: Annotated[str, typer.Option(help="Folder under modules/.")] = "taxi",
    data: Annotated[
        str | None,
        typer.Option(help="File, glob, {SPAN} pattern, gs:// or bq:// URI; the module's own by default."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Overrides a setting or a key of module.yaml."),
    ] = None,
    pipeline: PipelineOption = "training",
    env: Annotated[str | None, typer.Option(help="Settings of settings/<ENV>.yaml over base.yaml.")] = None,
    notify: Annotated[bool, typer.Option("--notify", help="Tell people of the end, as `notifications` says.")] = False,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Run a pipeline on this machine, from raw data to a pushed model."""
    from cli.overrides import override_module, split_overrides
    from cli.progress import Progress
    from cli.runs import load, print_outcome
    from cli.workspace import LOCK, PROJECT, local_locations, module_folder
    from delivery.launch import request_run
    from delivery.targets.local import local_image, run_local
    from pipelines.platform import Platform
    from settings.load import load_settings
    from slipway.module_kit.check import check_module

    for_settings, for_module = split_overrides(set_ or [])
    settings = load_settings(env, for_settings)
    if notify:
        settings.notifications.require_complete()
    folder = module_folder(settings, module)
    config = override_module(check_module(folder), for_module)
    platform = Platform(
        target="local",
        image=local_image(PROJECT, LOCK),
        beam_options=settings.beam.options,
        strategy=settings.distribution.strategy,
        engine=settings.evaluation.engine,
        notifications=settings.notifications.model_dump(mode="json") if notify else {},
    )
    data_uri = _data_uri(folder, config, data, settings.home)
    request = request_run(
        folder,
        config,
        data_uri,
        local_locations(settings),
        platform,
        pipeline=pipeline,
        settings_overrides=dict(for_settings),
    )
    if as_json:
        finished = run_local(request, settings.home, lambda steps: None)
    else:
        typer.echo(f"run {request.lineage.run}")
        with Progress() as progress:
            finished = run_local(request, settings.home, progress.update)
    view = load(request.lineage.run)
    if as_json:
        print_json(view.as_json())
    else:
        print_outcome(view)
    if any(step.state == "failed" for step in finished.steps):
        raise typer.Exit(1)


def _data_uri(folder: Path, config: ModuleConfig, data: str | None, home: Path) -> str:
    from cli.workspace import sample_file

    uri = data or config.data
    if uri is None:
        return str(sample_file(folder, home))
    if "://" in uri:
        return uri
    # A module's own data is named from the module's folder, the user's from where they stand.
    base = Path.cwd() if data else folder
    return ",".join(str(base / part) for part in uri.split(","))
