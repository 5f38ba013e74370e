"""`slipway submit`: a run of the training pipeline on Kubeflow or Vertex."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import JsonOption, print_json
from cli.targets import EnvOption, PipelineOption, RemoteTarget, TargetOption

if TYPE_CHECKING:
    from delivery.package import Package
    from delivery.targets.base import RemoteRun, Target

INTERRUPTED = 130


def submit(
    module: Annotated[str, typer.Argument(help="Folder under modules/.")],
    target: TargetOption,
    env: EnvOption = None,
    data: Annotated[str | None, typer.Option(help="gs:// or bq:// URI; the module's own by default.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Overrides a setting or a key of module.yaml."),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Image of all tasks, by digest; the settings' by default.")] = None,
    package: Annotated[
        Path | None, typer.Option(help="What `slipway compile` wrote; compiled anew by default.", exists=True)
    ] = None,
    pipeline: PipelineOption = "training",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run, and fail if it does.")] = False,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Start a run on a cluster: publish the module, upload the pipeline if it is new, create the run."""
    from cli.overrides import split_overrides
    from cli.remote_runs import print_end, run_as_json
    from cli.targets import compiled, open_target, prepare
    from settings.load import load_settings

    for_settings, for_module = split_overrides(set_ or [])
    settings = load_settings(env, for_settings)
    place = open_target(settings, target, env)
    with nullcontext(package) if package else compiled(settings, target, image, pipeline) as path:
        submission = prepare(
            settings,
            target,
            path,
            module,
            data,
            for_module,
            pipeline=pipeline,
            settings_overrides=dict(for_settings),
        )
        run = place.submit(submission)
    if not as_json:
        typer.echo(f"run {run.name}\n{run.url}")
    if wait:
        run = _follow(place, run, submission.package, quiet=as_json, options=_options(target, env))
    if as_json:
        print_json(run_as_json(run))
    elif wait:
        print_end(run)
    if run.ended and run.state != "succeeded":
        raise typer.Exit(1)


def _follow(place: Target, run: RemoteRun, package: Package, *, quiet: bool, options: str) -> RemoteRun:
    from cli.progress import Progress
    from delivery.package import all_steps
    from delivery.targets.base import wait
    from slipway.errors import TargetError

    hint = (
        f"{run.name} goes on without you.\n"
        f"Look at it: slipway runs show {run.name} {options}\n"
        f"Cancel it:  slipway runs cancel {run.name} {options}"
    )
    try:
        if quiet:
            return wait(place, run.id, lambda steps: None)
        with Progress() as progress:
            return wait(place, run.id, lambda steps: progress.update(all_steps(package, steps)))
    except KeyboardInterrupt:
        typer.echo(hint, err=True)
        raise typer.Exit(INTERRUPTED) from None
    except TargetError:
        typer.echo(hint, err=True)
        raise


def _options(target: RemoteTarget, env: str | None) -> str:
    return f"--target {target}" + (f" --env {env}" if env else "")
