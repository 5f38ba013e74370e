"""How far a run is that goes on: steps, epochs and rows, from what the runner and the steps wrote."""

from __future__ import annotations

import time

from markupsafe import Markup

from console.runs.artifacts import file_of
from slipway.errors import SlipwayError
from slipway.pages.charts import Series, bar, line_chart
from slipway.pages.numbers import format_number, format_seconds
from slipway.pages.page import details, log, section, tiles
from slipway.pages.printable import printable
from slipway.runs.record import Step
from slipway.runs.store import RunView
from slipway.runs.training_log import Epoch, read_logged
from slipway.stores import storage

LOG_BYTES = 256 * 1024
LOG_LINES = 12


def progress(view: RunView) -> Markup:
    """Key figures, the curve of the training so far, and the last lines of the running step's log."""
    steps, lineage = view.steps, view.summary.lineage
    done = sum(step.state in ("succeeded", "skipped") for step in steps)
    running = next((step for step in steps if step.state == "running"), None)
    texts = {step.name: _tail(view, step) for step in steps if step.state == "running"}
    epochs, most = next((read for read in map(read_logged, texts.values()) if read[0]), ([], 0))
    name = running.name.replace("_", " ") if running else "between two steps"
    since = format_seconds(time.time() - running.started) if running and running.started else ""
    figures = [("steps", f"{done} of {len(steps)}", f"{name}{', for ' * bool(since)}{since}")]
    if epochs:
        figures.append(("epoch", f"{epochs[-1].epoch} of {most}", _loss(epochs[-1])))
    if rows := view.summary.rows.read:
        figures.append(("rows", f"{rows:,}", view.summary.rows.unused))
    if lineage.started:
        figures.append(("time", format_seconds(time.time() - lineage.started), "so far"))
    share = 100 * (done + (len(epochs) / most if most else 0)) / (len(steps) or 1)
    parts = [Markup('<div role="status">{}</div>').format(tiles(figures)), bar(0, share)]
    if len(epochs) > 1:
        numbers = [one.epoch for one in epochs]
        lines = [
            Series("training", numbers, [one.loss for one in epochs]),
            Series("held back", numbers, [one.val_loss for one in epochs]),
        ]
        parts.append(line_chart("Loss", lines, x_label="epoch", marks=True))
    for step, text in texts.items():
        last = "\n".join(text.splitlines()[-LOG_LINES:])
        parts.append(details(f"Last lines of {step}", log(printable(last))) if last else Markup(""))
    return section("Going on", *parts)


def _loss(epoch: Epoch) -> str:
    return f"loss {format_number(epoch.loss)}, held back {format_number(epoch.val_loss)}"


def _tail(view: RunView, step: Step) -> str:
    """The end of a step's log: that beside the record, whatever file the record names."""
    try:
        with storage.open_read(file_of(view.uri, f"logs/{step.name}.log")) as file:
            file.seek(max(file.seek(0, 2) - LOG_BYTES, 0))
            return file.read().decode("utf-8", "replace")
    except SlipwayError:
        return ""
