"""`slipway compile`: the pipeline as a file for Kubeflow or Vertex."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.output import echo
from slipway.targets import DEFAULT_PIPELINE

CommandClass = options.OldSpellings


def compile(  # noqa: A001 - the command's name
    target: options.Target,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (.yaml or .json).")],
    module: Annotated[str, typer.Argument(help="Folder under modules/.")] = options.TAXI,
    data: Annotated[str | None, typer.Option(help="gs://, s3:// or bq:// URI; the module's own by default.")] = None,
    set_: options.Set = None,
    image: options.Image = None,
    pipeline: options.Pipeline = DEFAULT_PIPELINE,
    env: options.Env = None,
) -> None:
    """Compile a pipeline for a module and a platform, and check that the platform can run all of it.

    The values of the settings and of module.yaml are in the file; what a person may change is a field of the form.
    """
    # The help needs neither.
    from delivery.environment import open_environment
    from delivery.submission import write_package

    environment = open_environment(env, set_).with_image(image)
    write_package(environment, target, module, data, pipeline, output)
    echo(f"{output}: the {pipeline} pipeline of {module} for {target}")
    if not environment.settings.remote_home:
        echo("remote_home is not set, so the file is for reading alone: no run of it finds its data", err=True)
