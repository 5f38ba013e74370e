"""`slipway report`: a run as one HTML page."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import JsonOption, print_json


def report(
    run: Annotated[str | None, typer.Argument(help="Name of a run, or its beginning; the newest by default.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Write a run's report, one HTML page without need of a network, and print its path."""
    from cli.runs import load
    from slipway.runs.report import write_report

    view = load(run)
    path = write_report(view)
    if as_json:
        print_json({"run": view.name, "report": path})
    else:
        typer.echo(path)
