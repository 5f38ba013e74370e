"""One live line per step."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cli.output import printable
from slipway.runs.record import Step

_MARKS = {
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "pending": ("·", "dim"),
    "unknown": ("?", "yellow"),
}


class Progress:
    """Draws the steps on a terminal; prints a line per finished step where standard output is no terminal."""

    def __init__(self) -> None:
        # kfp's logs are redirected away from sys.stdout during a run; people still look at the real one.
        self._console = Console(file=sys.stdout, highlight=False)
        self._steps: list[Step] = []
        self._printed: set[str] = set()
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=8, transient=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, steps: list[Step]) -> None:
        """Takes the newest states."""
        self._steps = steps
        if self._console.is_terminal:
            return
        for step in steps:
            if step.state not in ("pending", "running") and step.name not in self._printed:
                self._printed.add(step.name)
                self._console.print(_line(step))

    def _draw(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for step in self._steps:
            if step.state == "running":
                seconds = f"{time.time() - (step.started or time.time()):.1f} s"
                table.add_row(
                    Spinner("dots", style="cyan"), printable(step.name), Text("running", style="cyan"), seconds
                )
            else:
                mark, style = _MARKS[step.state]
                table.add_row(
                    Text(mark, style=style), printable(step.name), Text(_state(step), style=style), _seconds(step)
                )
        return table


def _line(step: Step) -> Text:
    mark, style = _MARKS[step.state]
    return Text(f"{mark} {printable(step.name):<20} {_state(step):<10} {_seconds(step):>8}".rstrip(), style=style)


def _state(step: Step) -> str:
    return "cached" if step.cached and step.state == "succeeded" else step.state


def _seconds(step: Step) -> str:
    return "" if step.seconds is None else f"{step.seconds:.1f} s"
