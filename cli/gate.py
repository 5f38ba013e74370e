"""`slipway gate`: the promotion gate, proved."""

from __future__ import annotations

import typer

app = typer.Typer(help="The gate between an evaluated model and production.", no_args_is_help=True)
