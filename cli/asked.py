"""From which version a rollback goes, and when somebody asked for it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

# Of this process's command, which means what was so when it was typed: its imports take a while.
TYPED = time.time() - time.process_time()

LeaveOption = Annotated[
    int | None,
    typer.Option("--from", metavar="VERSION", help="Leave this one only; what was stable when you typed by default."),
]


def asked(context: typer.Context) -> float:
    """When a command was typed, in seconds since 1970."""
    return context.obj or time.time()
