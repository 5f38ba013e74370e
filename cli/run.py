"""`slipway run`: a pipeline on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.output import echo, print_json
from cli.progress import Progress
from cli.runs import print_outcome, view_as_json
from delivery.environment import open_environment
from delivery.submission import local_request
from delivery.targets.local import run_local
from slipway.lineage import DEFAULT_PIPELINE
from slipway.runs.store import load_run


def run(
    module: Annotated[str | None, typer.Argument(help="Folder under modules/; taxi by default.")] = None,
    old_module: options.OldModule = None,
    data: options.Data = None,
    set_: options.Set = None,
    pipeline: options.Pipeline = DEFAULT_PIPELINE,
    env: options.Env = None,
    notify: Annotated[bool, typer.Option("--notify", help="Notify of the end, as the settings say.")] = False,
    as_json: options.Json = False,
) -> None:
    """Run a pipeline on this machine, from raw data to a pushed model."""
    environment = open_environment(env, set_)
    request = local_request(environment, options.named(module, old_module), data, notify=notify, pipeline=pipeline)
    if as_json:
        finished = run_local(request, environment.settings.home, lambda steps: None)
    else:
        echo(f"run {request.lineage.run}")
        with Progress() as progress:
            finished = run_local(request, environment.settings.home, progress.update)
    view = load_run(environment.local.runs, request.lineage.run)
    if as_json:
        print_json(view_as_json(view))
    else:
        print_outcome(view)
    if any(step.state == "failed" for step in finished.steps):
        raise typer.Exit(1)
