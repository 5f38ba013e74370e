"""How commands print: text, aligned tables and JSON. Control characters are escaped; colour only on a terminal."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from slipway.hints import complete
from slipway.pages.numbers import format_number, format_seconds
from slipway.pages.printable import printable

if TYPE_CHECKING:  # the main help has no need of pydantic
    from collections.abc import Mapping

    from slipway.runs.record import Step

# States of steps.
SIGNS = {"succeeded": "✓", "failed": "✕", "running": "…", "pending": "·", "skipped": "-", "unknown": "?"}
# States of steps and runs, and verdicts.
COLOURS = {
    **dict.fromkeys(("succeeded", "pushed"), typer.colors.GREEN),
    **dict.fromkeys(("refused", "interrupted", "cancelled", "unknown"), typer.colors.YELLOW),
    "running": typer.colors.CYAN,
    "failed": typer.colors.RED,
}


def echo(text: str, *, err: bool = False, end: str = "\n", **style: Any) -> None:
    """Prints text, which may hold anything, on standard output or error."""
    typer.secho(_told(text) + end, err=err, nl=False, **style)


def print_log() -> None:
    """Prints what is logged from now on, on standard error."""

    class Printable(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record))

    handler = logging.StreamHandler()
    handler.setFormatter(Printable("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def print_state(name: str, state: str, rest: str = "") -> None:
    """Prints `name: state`, the state in its colour, and what follows."""
    typer.echo(f"{printable(name)}: {_coloured(printable(state))}{_told(rest)}")


def print_fact(name: str, text: str, *, width: int = 9, state: str = "") -> None:
    """Prints a name, dimmed and padded, and its value; a `state` stands before the text in its colour."""
    typer.echo(f"{typer.style(f'{name:<{width}}', dim=True)} {_coloured(state)}{_told(text)}".rstrip())


def print_json(value: Any) -> None:
    """Prints strict JSON: NaN and infinity become null."""
    typer.echo(printable(json.dumps(_strict(value), indent=2, ensure_ascii=False, allow_nan=False)))


def iso_times(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The record with the Unix times under these keys as ISO 8601 in UTC; a missing time becomes null."""
    return record | {key: _iso(record[key]) for key in keys}


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Prints aligned columns; those named in `numbers` to the right."""
    cells = [[_told(cell.replace("\n", " ")) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    for index, row in enumerate(cells):
        padded = [
            cell.rjust(width) if header in numbers else cell.ljust(width)
            for cell, width, header in zip(row, widths, headers, strict=True)
        ]
        typer.secho("  ".join(padded if index == 0 else map(_coloured, padded)).rstrip(), dim=index == 0 or None)


def step_line(step: Step) -> str:
    """A step's sign, name, state, time and peak of memory."""
    state = "cached" if step.cached and step.state == "succeeded" else step.state
    seconds = "" if step.seconds is None else format_seconds(step.seconds)
    peak = f"{step.peak_mib:,.0f} MiB" if step.peak_mib else ""
    return f"{SIGNS[step.state]} {step.name:<20} {state:<10} {seconds:>10} {peak:>10}".rstrip()


def print_steps(steps: list[Step]) -> None:
    """Prints one line for each step of a run."""
    for step in steps:
        echo(f"  {step_line(step)}", fg=COLOURS["failed"] if step.state == "failed" else None)


def format_metrics(metrics: Mapping[str, float | None]) -> str:
    """`auc 0.9571, log_loss 0.1895`."""
    return ", ".join(f"{name} {format_number(value)}" for name, value in metrics.items())


def local_time(seconds: float) -> str:
    """A time in the user's zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def _told(text: str) -> str:
    """Text without control characters, in which commands to run have the environment of this one."""
    return printable(complete(text))


def _coloured(text: str) -> str:
    known = COLOURS.get(text.strip())
    return typer.style(text, fg=known) if known else text


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _iso(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else None
