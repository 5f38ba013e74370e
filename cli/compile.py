"""`slipway compile`: the pipeline as a file for Kubeflow or Vertex."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def compile_pipeline(
    target: Annotated[Literal["kubeflow", "vertex"], typer.Option(help="Where it is to run.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (.yaml or .json).")],
    image: Annotated[
        str | None,
        typer.Option(help="Image of all tasks, by digest (REPOSITORY@sha256:…); the settings' by default."),
    ] = None,
    env: Annotated[str | None, typer.Option(help="Settings of settings/<ENV>.yaml over base.yaml.")] = None,
) -> None:
    """Compile the training pipeline for a platform, and check that the platform can run all of it."""
    from delivery.compile import compile_training
    from settings.load import load_settings

    settings = load_settings(env)
    compute = {name: wants.model_dump() for name, wants in settings.compute.items()}
    compile_training(target, image or settings.image, compute, output)
    typer.echo(f"{output}: the training pipeline for {target}")
