"""`slipway explain`: why a model was, or was not, pushed."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import JsonOption, print_json


def explain(
    what: Annotated[
        str | None,
        typer.Argument(metavar="RUN|VERSION", help="A run, or a version (MODEL/VERSION); the newest run by default."),
    ] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Explain in plain text why a run's model was or was not pushed, with thresholds, slices, baseline and digests."""
    from cli.models import open_local_store
    from settings.load import load_settings
    from slipway.runs.explain import find

    explanation = find(what, load_settings().home / "runs", open_local_store())
    if as_json:
        print_json(explanation.as_json())
    else:
        typer.echo(explanation.text())
