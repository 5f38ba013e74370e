"""`slipway schema`: what a file's columns look like."""

from __future__ import annotations

import typer

app = typer.Typer(help="Schemas of data.", no_args_is_help=True)
