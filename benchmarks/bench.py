"""`make bench`: time, memory and quality of the training pipeline, the loop, and the model server, as Markdown tables.

The trips are those of `--trips`, or the built-in sample where none are given; larger data are made of them with
jitter (`benchmarks.enlarge`). Every cold run starts from an empty home. The machine should be idle.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import batch, console, monitor, s3, scale, shapes, tuning
from benchmarks.enlarge import enlarge
from benchmarks.loop import HEADER as LOOP_HEADER
from benchmarks.loop import WINDOWS_HEADER, Trips, compare_lives, list_windows, live_all
from benchmarks.measure import Cost, measure
from benchmarks.serving import HEADER, compare
from benchmarks.tables import HEADER as TABLES_HEADER
from benchmarks.tables import TABLES, compare_tables

BIN = Path(sys.executable).parent
SLIPWAY = str(BIN / "slipway")
DATA_STEPS = ("ingest_examples", "compute_statistics", "validate_examples")
SEEDS = (1, 2, 3)
PARTS = [
    "commands",
    "runs",
    "steps",
    "sizes",
    "quality",
    "tables",
    "tuning",
    "monitor",
    "loop",
    "serving",
    "batch",
    "console",
    "scale",
    "shapes",
    "s3",
]


def main() -> None:
    """Prints the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trips", type=Path, help="CSV of taxi trips; the built-in sample by default")
    parser.add_argument("--tables", type=Path, help="folder of the tables that benchmarks/tables.py names")
    parser.add_argument("--rows", type=int, nargs="*", default=[300_000, 3_000_000], help="enlarged sizes to run")
    parser.add_argument("--only", choices=PARTS, nargs="*")
    arguments = parser.parse_args()
    parts = arguments.only or PARTS
    print(f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        work = Path(folder)
        trips = arguments.trips or sample(work)
        if "commands" in parts:
            table(("command", "wall s", "CPU s"), commands(work))
        if "runs" in parts:
            table(("run", "wall s", "CPU s", "largest process MiB"), runs(work, trips))
        if "steps" in parts:
            table(("step", "wall s", "CPU s", "MiB"), steps(work, trips))
        if "sizes" in parts:
            header = ("rows", "wall s", "CPU s", "largest process MiB", "data steps s", "data steps MiB")
            table(header, sizes(work, trips, arguments.rows))
        if "quality" in parts:
            table(("seed", "AUC", "log loss", "accuracy", "verdict"), quality(work, trips))
        if "tables" in parts and arguments.tables:
            table(TABLES_HEADER, compare_tables(work, arguments.tables))
        if "tuning" in parts:
            table(tuning.HEADER, tuning.compare_searches(list(searched(work, trips, arguments.tables)), work))
        if "monitor" in parts:
            home = work / "monitor"
            _, run = train(home, trips)
            (model,) = (home / "models" / "taxi").glob("[0-9]*")
            answered = monitor.read_trips(run, model, home / "models" / "taxi" / ".baselines" / f"{model.name}.json")
            table(monitor.COST_HEADER, monitor.measure_cost(answered, home, int(model.name), work))
            table(monitor.SIZE_HEADER, monitor.measure_size(answered, home, int(model.name), work))
            table(monitor.ALARMS_HEADER, monitor.count_false_alarms(answered))
            table(monitor.MOVES_HEADER, monitor.count_moves(answered))
        if "loop" in parts:
            lives = list(live_all(work / "loop", Trips(trips)))
            table(WINDOWS_HEADER, list_windows(lives))
            table(LOOP_HEADER, compare_lives(lives))
        if "serving" in parts:
            train(work / "serving", trips)
            (model,) = (work / "serving" / "models" / "taxi").glob("[0-9]*")
            table(HEADER, compare(model, seconds=5.0))
        if "batch" in parts:
            train(work / "batch", trips)
            table(batch.HEADER, batch.compare_batch(work / "batch", trips, work))
            table(batch.MEMORY_HEADER, batch.measure_memory(work / "batch", trips, work))
        if "console" in parts:
            table(console.HEADER, console.measure_pages(work))
        if "scale" in parts:
            table(scale.HEADER, scale.measure_scale(work))
            table(scale.MEMORY_HEADER, scale.measure_console(work))
        if "shapes" in parts:
            table(shapes.HEADER, shapes.compare_shapes(work))
        if "s3" in (arguments.only or []):  # a MinIO is on few machines
            table(s3.HEADER, s3.compare_clients(work))


def sample(work: Path) -> Path:
    """The taxi module's synthetic trips."""
    path = work / "sample.csv"
    code = f"from modules.taxi.sample import write_sample; from pathlib import Path; write_sample(Path({str(path)!r}))"
    measure([sys.executable, "-c", code])
    return path


def commands(work: Path) -> Iterator[tuple[str, ...]]:
    """What answers at once; the median of five."""
    compiled = ["compile", "--target", "vertex", "--image", "slipway@sha256:" + "0" * 64, "-o", str(work / "spec.yaml")]
    for name, command in (
        ("slipway --help", ["--help"]),
        ("slipway module check", ["module", "check"]),
        ("slipway compile", compiled),
    ):
        costs = [measure([SLIPWAY, *command]) for _ in range(5)]
        wall = statistics.median(cost.wall_seconds for cost in costs)
        cpu = statistics.median(cost.cpu_seconds for cost in costs)
        yield name, f"{wall:.2f}", f"{cpu:.2f}"
    costs = [measure([sys.executable, "-c", "import tensorflow"]) for _ in range(3)]
    wall = statistics.median(cost.wall_seconds for cost in costs)
    yield "for comparison: import tensorflow", f"{wall:.2f}", f"{statistics.median(c.cpu_seconds for c in costs):.2f}"


def runs(work: Path, trips: Path) -> Iterator[tuple[str, ...]]:
    """From an empty home, again with nothing changed, and again with another seed: from training on."""
    home = work / "runs"
    cases: tuple[tuple[str, list[str]], ...] = (
        ("cold, CSV to pushed model", []),
        ("nothing changed, all cached", []),
        ("another seed, from training on", ["--set", "training.seed=7"]),
    )
    for name, flags in cases:
        cost, run = train(home, trips, *flags)
        yield name, f"{cost.wall_seconds:.1f}", f"{cost.cpu_seconds:.1f}", f"{cost.peak_mib:.0f}"
    [step] = (step for step in run["steps"] if step["name"] == "resolve_baseline")
    yield "its step resolve_baseline", f"{step['seconds']:.2f}", f"{step['cpu_seconds']:.2f}", f"{step['peak_mib']:.0f}"


def steps(work: Path, trips: Path) -> Iterator[tuple[str, ...]]:
    """Where a cold run's seconds go; what is no step's are imports of the command and of its two workers."""
    cost, run = train(work / "steps", trips)
    for step in run["steps"]:
        if step["cpu_seconds"]:
            numbers = f"{step['seconds']:.1f}", f"{step['cpu_seconds']:.1f}", f"{step['peak_mib']:.0f}"
            yield step["name"], *numbers
    others = cost.cpu_seconds - sum(step["cpu_seconds"] or 0 for step in run["steps"])
    yield "imports and command", "", f"{others:.1f}", ""
    yield "all", f"{cost.wall_seconds:.1f}", f"{cost.cpu_seconds:.1f}", f"{cost.peak_mib:.0f}"


def sizes(work: Path, trips: Path, rows: list[int]) -> Iterator[tuple[str, ...]]:
    """Cold runs on enlarged data."""
    for count in rows:
        data = work / f"trips-{count}.csv"
        enlarge(trips, count, data)
        cost, run = train(work / f"home-{count}", data)
        data_steps = [step for step in run["steps"] if step["name"] in DATA_STEPS]
        yield (
            f"{count:,}",
            f"{cost.wall_seconds:.1f}",
            f"{cost.cpu_seconds:.1f}",
            f"{cost.peak_mib:.0f}",
            f"{sum(step['seconds'] for step in data_steps):.1f}",
            f"{max(step['peak_mib'] for step in data_steps):.0f}",
        )
        data.unlink()


def quality(work: Path, trips: Path) -> Iterator[tuple[str, ...]]:
    """Metrics on the eval split for several seeds, and their mean."""
    found = []
    for seed in SEEDS:
        _, run = train(work / f"quality-{seed}", trips, "--set", f"training.seed={seed}")
        metrics = run["metrics"]
        found.append(metrics)
        row = (f"{metrics[name]:.4f}" for name in ("auc", "log_loss", "accuracy"))
        yield str(seed), *row, run["verdict"]
    means = (f"{statistics.mean(m[name] for m in found):.4f}" for name in ("auc", "log_loss", "accuracy"))
    yield "mean", *means, ""


def searched(work: Path, trips: Path, tables: Path | None) -> Iterator[tuning.Subject]:
    """The taxi module, and what `slipway module new` makes of adult if there is a folder of tables."""
    _, run = train(work / "tuning", trips)
    yield tuning.subject_of("taxi", Path("modules/taxi"), run)
    if tables:
        environment = {"SLIPWAY_HOME": str(work / "tuning-adult"), "SLIPWAY_MODULES": str(work / "tuning-modules")}
        [adult] = (one for one in TABLES if one.name == "adult")
        new = ["module", "new", adult.name, "--data", str(tables / adult.file), "--label", adult.label]
        measure([SLIPWAY, *new], environment)
        measure([SLIPWAY, "run", adult.name], environment)
        run = json.loads(measure([SLIPWAY, "runs", "show", "--json"], environment).output)
        yield tuning.subject_of(adult.name, work / "tuning-modules" / adult.name, run)


def train(home: Path, data: Path, *flags: str) -> tuple[Cost, dict[str, Any]]:
    """One run of the pipeline, and what `slipway runs show` says of it."""
    environment = {"SLIPWAY_HOME": str(home)}
    cost = measure([SLIPWAY, "run", "--data", str(data), *flags], environment)
    return cost, json.loads(measure([SLIPWAY, "runs", "show", "--json"], environment).output)


def table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    """Prints a table row by row, as they come."""
    print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


if __name__ == "__main__":
    main()
