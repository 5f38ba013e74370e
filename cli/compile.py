"""`slipway compile`: the pipeline as a file for Kubeflow or Vertex."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.output import echo
from delivery.compile import compile_pipeline
from delivery.environment import open_environment
from slipway.lineage import DEFAULT_PIPELINE


def compile(  # noqa: A001 - the command's name
    target: options.Target,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (.yaml or .json).")],
    image: options.Image = None,
    pipeline: options.Pipeline = DEFAULT_PIPELINE,
    env: options.Env = None,
) -> None:
    """Compile a pipeline for a platform, and check that the platform can run all of it."""
    settings = open_environment(env).settings
    compile_pipeline(pipeline, target, image or settings.image, settings.compute, output)
    echo(f"{output}: the {pipeline} pipeline for {target}")
