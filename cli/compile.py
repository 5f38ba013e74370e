"""`slipway compile`: the pipeline as a file for Kubeflow or Vertex."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.targets import PipelineOption


def compile_pipeline(
    target: Annotated[Literal["kubeflow", "vertex"], typer.Option(help="Where it is to run.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (.yaml or .json).")],
    image: Annotated[
        str | None,
        typer.Option(help="Image of all tasks, by digest (REPOSITORY@sha256:…); the settings' by default."),
    ] = None,
    pipeline: PipelineOption = "training",
    env: Annotated[str | None, typer.Option(help="Settings of settings/<ENV>.yaml over base.yaml.")] = None,
) -> None:
    """Compile a pipeline for a platform, and check that the platform can run all of it."""
    from delivery import compile as compiling
    from settings.load import load_settings

    settings = load_settings(env)
    compiling.compile_pipeline(pipeline, target, image or settings.image, settings.compute, output)
    typer.echo(f"{output}: the {pipeline} pipeline for {target}")
