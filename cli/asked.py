"""From which version a rollback goes, and when somebody asked for it."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from slipway.runs.process import start_time


def _began() -> float:
    """When this process began: on a busy machine or a cold disk, long before its imports are done."""
    ticks = start_time(os.getpid())
    if ticks is None:  # no /proc
        return time.time() - time.process_time()
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


# Of this process's command, which means what was so when it was typed.
TYPED = _began()

LeaveOption = Annotated[
    int | None,
    typer.Option("--from", metavar="VERSION", help="Leave this one only; what was stable when you typed by default."),
]


def asked(context: typer.Context) -> float:
    """When a command was typed, in seconds since 1970."""
    return context.obj or time.time()
