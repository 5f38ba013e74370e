"""`slipway explain`: why a model was, or was not, pushed."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.output import echo, iso_times, print_json
from delivery.environment import open_environment


def explain(
    what: Annotated[
        str | None,
        typer.Argument(metavar="RUN|VERSION", help="A run, or a version (MODEL/VERSION); the newest run by default."),
    ] = None,
    target: options.TargetOrState = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Explain why a model was or was not pushed, with thresholds, slices, baseline and digests."""
    explanation = open_environment(env).explain(what, target)
    if as_json:
        record = iso_times(explanation.as_json(), "started")
        print_json(record | {"history": [iso_times(event, "when") for event in record["history"]]})
    else:
        echo(explanation.text())
