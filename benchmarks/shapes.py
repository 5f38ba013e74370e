"""Whether a step grows faster than its input: modules with many columns, and evaluations with many slices.

Each shape is measured at three sizes, in CPU seconds and MiB of each step. `grows` has the factors of both when the
size doubles the last time: 2 is a line, 4 a square. Steps that take little longer at the largest size than at the least
are left out.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import measure

SLIPWAY = str(Path(sys.executable).parent / "slipway")
HEADER = ("shape", "step", "sizes", "CPU s", "MiB", "grows")
COLUMNS, COLUMN_ROWS = (375, 750, 1_500), 2_000
SLICES, SLICE_ROWS = (250, 500, 1_000), 50_000
SLICINGS = 10  # that have as many slices together as the one by shop
SHOWN_FROM = 1.0  # CPU seconds of difference


def compare_shapes(work: Path) -> Iterator[tuple[str, ...]]:
    """A row for each step that takes longer at the largest size, the fastest growing first."""
    for shape, sizes, write in (("columns", COLUMNS, _write_columns), ("slices", SLICES, _write_slices)):
        runs = [_run(work / f"{shape}-{size}", shape, size, write) for size in sizes]
        rows = []
        for name in runs[-1]:
            seconds, mib = ([run[name][key] for run in runs] for key in ("cpu_seconds", "peak_mib"))
            if seconds[-1] - seconds[0] < SHOWN_FROM:
                continue
            grows = [each[-1] / each[-2] for each in (seconds, mib)]
            cells = [
                ", ".join(f"{each:,.{places}f}" for each in values)
                for values, places in ((sizes, 0), (seconds, 1), (mib, 0), (grows, 1))
            ]
            rows.append((grows[0], (shape, name, *cells)))
        yield from (row for _, row in sorted(rows, reverse=True))


def _run(work: Path, shape: str, size: int, write: Any) -> dict[str, dict[str, float]]:
    """The steps of the untouched module that `slipway module new` makes, but for its slices."""
    work.mkdir(parents=True)
    write(work / "data.csv", size)
    environment = {"SLIPWAY_HOME": str(work / "home"), "SLIPWAY_MODULES": str(work / "modules")}
    measure([SLIPWAY, "module", "new", shape, "--data", str(work / "data.csv"), "--label", "label"], environment)
    if shape == "slices":
        config = work / "modules" / shape / "module.yaml"
        text = re.sub(r"^slices:(\n +- .*)+\n", "", config.read_text(encoding="utf-8"), flags=re.MULTILINE)
        slicings = ["shop", *(f"part_{number}" for number in range(SLICINGS))]
        config.write_text(f"{text}slices: [{', '.join(f'[{name}]' for name in slicings)}]\n", encoding="utf-8")
    measure([SLIPWAY, "run", shape, "--set", "training.epochs=2", "--require-push"], environment)
    run = json.loads(measure([SLIPWAY, "runs", "show", "--json"], environment).output)
    return {step["name"]: step for step in run["steps"] if step.get("cpu_seconds")}


def _write_columns(path: Path, columns: int) -> None:
    """A third are categories, a sixth days; a tenth of the values is missing. Each tells a little of the label."""
    random = np.random.default_rng(1)
    cause = random.normal(size=COLUMN_ROWS)
    numbers = random.normal(size=(COLUMN_ROWS, columns)) + 0.3 * cause[:, np.newaxis]
    labels = cause + random.normal(0, 0.5, COLUMN_ROWS) > 0
    texts = [[f"{value:.4g}" for value in column] for column in numbers.T]
    texts[2::3] = [[f"v{int(abs(value) * 3)}" for value in column] for column in numbers.T[2::3]]
    texts[4::6] = [
        [str(date(2024, 1, 1) + timedelta(int(value * 99))) for value in column] for column in numbers.T[4::6]
    ]
    for column, missing in zip(texts[3:], random.random((columns, COLUMN_ROWS)) < 0.1, strict=False):
        column[:] = ["" if gone else value for value, gone in zip(column, missing, strict=True)]
    _write(path, [f"column_{index}" for index in range(columns)], texts, labels)


def _write_slices(path: Path, slices: int) -> None:
    """Two numbers, a category with a value for each slice, and ten that have as many together."""
    random = np.random.default_rng(1)
    numbers = random.normal(size=(SLICE_ROWS, 2))
    labels = numbers.sum(axis=1) + random.normal(0, 0.5, SLICE_ROWS) > 0
    sizes = {"shop": slices} | {f"part_{number}": slices // SLICINGS for number in range(SLICINGS)}
    categories = [[f"{name} {code}" for code in random.integers(0, size, SLICE_ROWS)] for name, size in sizes.items()]
    _write(path, ["a", "b", *sizes], [*([f"{one:.4g}" for one in column] for column in numbers.T), *categories], labels)


def _write(path: Path, names: list[str], columns: list[list[str]], labels: Any) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*names, "label"])
        writer.writerows(zip(*columns, ["yes" if label else "no" for label in labels], strict=True))
