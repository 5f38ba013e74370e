"""`slipway track`: what the tracker of experiments lacks."""

from __future__ import annotations

import typer

from cli import options
from cli.output import echo
from delivery.environment import open_environment
from delivery.tracking import sync as find_and_write

app = typer.Typer(no_args_is_help=True)


@app.command()
def sync(env: options.Env = None, dry_run: options.DryRun = False) -> None:
    """Write recorded runs that the tracker lacks, and the stages of all versions; 1 if something was not written."""
    written, problems = 0, 0
    environment = open_environment(env)
    for what, problem in find_and_write(environment, dry_run=dry_run):
        if problem:
            echo(f"error: {what}: {problem}", err=True)
            problems += 1
        else:
            echo(f"{'would write' if dry_run else 'wrote'} {what}")
            written += 1
    if problems:
        raise typer.Exit(1)
    if not written:
        echo(f"{environment.settings.tracking.uri} has all runs.")
