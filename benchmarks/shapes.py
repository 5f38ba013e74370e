"""Whether a step grows faster than its input: modules with many columns, and evaluations with many slices.

Each shape is measured at two sizes, in CPU seconds of each step. `grows` is the exponent k between them, seconds ~
size ** k: 1 is a line, 2 a square. A second of a step is what it takes whatever the size, so steps that take little
longer are left out.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import measure

SLIPWAY = str(Path(sys.executable).parent / "slipway")
HEADER = ("shape", "step", "sizes", "CPU s", "MiB", "grows")
COLUMNS, COLUMN_ROWS = (375, 1_500), 2_000
SLICES, SLICE_ROWS = (250, 1_000), 100_000
SHOWN_FROM = 1.0  # CPU seconds of difference


def compare_shapes(work: Path) -> Iterator[tuple[str, ...]]:
    """A row for each step that takes longer at the larger size, the fastest growing first."""
    for shape, sizes, write in (("columns", COLUMNS, _write_columns), ("slices", SLICES, _write_slices)):
        runs = [_run(work / f"{shape}-{size}", shape, size, write) for size in sizes]
        rows = []
        for name, small in runs[0].items():
            large = runs[1][name]
            if large["cpu_seconds"] - small["cpu_seconds"] < SHOWN_FROM:
                continue
            grows = math.log(large["cpu_seconds"] / max(small["cpu_seconds"], 0.01)) / math.log(sizes[1] / sizes[0])
            pair = [f"{small[key]:.1f}, {large[key]:.1f}" for key in ("cpu_seconds", "peak_mib")]
            rows.append((shape, name, f"{sizes[0]:,}, {sizes[1]:,}", *pair, f"{grows:.1f}"))
        yield from sorted(rows, key=lambda row: -float(row[-1]))


def _run(work: Path, shape: str, size: int, write: Any) -> dict[str, dict[str, float]]:
    """The steps of the untouched module that `slipway module new` makes, but for its slices."""
    work.mkdir(parents=True)
    write(work / "data.csv", size)
    environment = {"SLIPWAY_HOME": str(work / "home"), "SLIPWAY_MODULES": str(work / "modules")}
    measure([SLIPWAY, "module", "new", shape, "--data", str(work / "data.csv"), "--label", "label"], environment)
    if shape == "slices":
        config = work / "modules" / shape / "module.yaml"
        text = re.sub(r"^slices:(\n +- .*)+\n", "", config.read_text(encoding="utf-8"), flags=re.MULTILINE)
        config.write_text(text + "slices: [[shop]]\n", encoding="utf-8")
    measure([SLIPWAY, "run", shape, "--set", "training.epochs=2"], environment)
    run = json.loads(measure([SLIPWAY, "runs", "show", "--json"], environment).output)
    return {step["name"]: step for step in run["steps"] if step.get("cpu_seconds")}


def _write_columns(path: Path, columns: int) -> None:
    """A third of the columns are categories; the label follows a few of the numbers."""
    random = np.random.default_rng(1)
    numbers = random.normal(size=(COLUMN_ROWS, columns))
    labels = numbers[:, :5].sum(axis=1) + random.normal(0, 0.5, COLUMN_ROWS) > 0
    texts = [[f"{value:.4g}" for value in column] for column in numbers.T]
    texts[2::3] = [[f"v{int(abs(value) * 3)}" for value in column] for column in numbers.T[2::3]]
    _write(path, [f"column_{index}" for index in range(columns)], texts, labels)


def _write_slices(path: Path, slices: int) -> None:
    """Two numbers and a category with a value for each slice."""
    random = np.random.default_rng(1)
    numbers = random.normal(size=(SLICE_ROWS, 2))
    labels = numbers.sum(axis=1) + random.normal(0, 0.5, SLICE_ROWS) > 0
    shops = [f"shop {number}" for number in random.integers(0, slices, SLICE_ROWS)]
    _write(path, ["a", "b", "shop"], [*([f"{one:.4g}" for one in column] for column in numbers.T), shops], labels)


def _write(path: Path, names: list[str], columns: list[list[str]], labels: Any) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*names, "label"])
        writer.writerows(zip(*columns, ["yes" if label else "no" for label in labels], strict=True))
