"""`slipway submit`: a run of a pipeline on Kubeflow or Vertex."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.output import echo
from cli.progress import Progress
from cli.remote_runs import print_end, print_run_as_json
from delivery.environment import open_environment
from delivery.package import Package, all_steps
from delivery.submission import compiled, prepare
from delivery.targets.base import RemoteRun, Target, wait
from slipway.errors import TargetError
from slipway.lineage import DEFAULT_PIPELINE

INTERRUPTED = 130


def submit(
    module: Annotated[str, typer.Argument(help="Folder under modules/.")],
    target: options.Target,
    env: options.Env = None,
    data: Annotated[str | None, typer.Option(help="gs:// or bq:// URI; the module's own by default.")] = None,
    set_: options.Set = None,
    pipeline: options.Pipeline = DEFAULT_PIPELINE,
    image: options.Image = None,
    package: Annotated[
        Path | None, typer.Option(help="A file of `slipway compile`; compiled anew by default.", exists=True)
    ] = None,
    follow: Annotated[bool, typer.Option("--wait", help="Follow the run, and fail if it does.")] = False,
    as_json: options.Json = False,
) -> None:
    """Start a run on a cluster: publish the module, upload the pipeline if it is new, create the run."""
    environment = open_environment(env, set_).with_image(image)
    cluster = environment.target(target)
    with nullcontext(package) if package else compiled(environment, target, pipeline) as path:
        submission = prepare(environment, target, path, module, data, pipeline=pipeline)
        run = cluster.submit(submission)
    if not as_json:
        echo(f"run {run.name}\n{run.url}")
    if follow:
        where = f"--target {target}" + (f" --env {env}" if env else "")
        run = _follow(cluster, run, submission.package, quiet=as_json, where=where)
    if as_json:
        print_run_as_json(run)
    elif follow:
        print_end(run)
    if run.ended and run.state != "succeeded":
        raise typer.Exit(1)


def _follow(cluster: Target, run: RemoteRun, package: Package, *, quiet: bool, where: str) -> RemoteRun:
    hint = (
        f"{run.name} continues on the cluster.\n"
        f"Look at it: slipway runs show {run.name} {where}\n"
        f"Cancel it:  slipway runs cancel {run.name} {where}"
    )
    try:
        if quiet:
            return wait(cluster, run.id, lambda steps: None)
        with Progress() as progress:
            return wait(cluster, run.id, lambda steps: progress.update(all_steps(package, steps)))
    except KeyboardInterrupt:
        echo(hint, err=True)
        raise typer.Exit(INTERRUPTED) from None
    except TargetError:
        echo(hint, err=True)
        raise
