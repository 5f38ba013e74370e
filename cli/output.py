"""How commands print: aligned tables and JSON. Colour only on a terminal."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from slipway.runs.record import Step

JsonOption = typer.Option("--json", help="Print JSON, and nothing else.")

_SIGNS = {"succeeded": "✓", "failed": "✕", "running": "…", "pending": "·", "skipped": "-", "unknown": "?"}
_COLOURS = {
    "succeeded": typer.colors.GREEN,
    "pushed": typer.colors.GREEN,
    "running": typer.colors.CYAN,
    "refused": typer.colors.YELLOW,
    "interrupted": typer.colors.YELLOW,
    "cancelled": typer.colors.YELLOW,
    "unknown": typer.colors.YELLOW,
    "failed": typer.colors.RED,
}


def print_json(value: Any) -> None:
    """Prints strict JSON: what is not a number (NaN, infinity) becomes null."""
    typer.echo(json.dumps(_strict(value), indent=2, ensure_ascii=False, allow_nan=False))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Prints aligned columns; those named in `numbers` to the right."""
    cells = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    for index, row in enumerate(cells):
        padded = [
            cell.rjust(width) if header in numbers else cell.ljust(width)
            for cell, width, header in zip(row, widths, headers, strict=True)
        ]
        if index == 0:
            typer.secho("  ".join(padded).rstrip(), dim=True)
        else:
            typer.echo("  ".join(map(colour, padded)).rstrip())


def print_steps(steps: list[Step]) -> None:
    """Prints one line for each step of a run."""
    from slipway.pages.numbers import format_seconds

    for step in steps:
        state = "cached" if step.cached and step.state == "succeeded" else step.state
        seconds = format_seconds(step.seconds) if step.seconds is not None else ""
        peak = f"{step.peak_mib:,.0f} MiB" if step.peak_mib else ""
        line = f"  {_SIGNS[step.state]} {step.name:<20} {state:<10} {seconds:>10} {peak:>10}"
        typer.echo(typer.style(line.rstrip(), fg=typer.colors.RED) if step.state == "failed" else line.rstrip())


def colour(text: str) -> str:
    """A state in its colour; any other text as it is."""
    known = _COLOURS.get(text.strip())
    return typer.style(text, fg=known) if known else text


def local_time(seconds: float) -> str:
    """A moment, in the reader's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
