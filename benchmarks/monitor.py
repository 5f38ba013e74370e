"""What the monitor costs, how often it is wrong, and what it finds; beside Evidently if it is installed.

A window that is stable, and its training rows, must be drawn alike. So for each of the windows all trips are shuffled
anew (seed = number of the window): the first two thirds are the training rows, the window and the one before it are
cut from the last third, no row twice. Each draw counts a baseline of its own; the answers of the model are a column of
the trips. All goes through the functions that `compare_requests` calls.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import Cost, measure
from serving.predictor import Predictor
from serving.request_log import schema
from slipway.data.examples.dataset import open_split
from slipway.data.schema import model_inputs, read_schema
from slipway.data.tensors import raw_inputs
from slipway.module_api import Monitoring
from slipway.module_kit.config import read_config
from slipway.monitoring.baseline import SCORE, Baseline
from slipway.monitoring.compare import compare_window
from slipway.monitoring.counts import Cells, choose_cells
from slipway.monitoring.evidently_page import Kind, drift_report, kind_of
from slipway.monitoring.requests import Requests
from slipway.monitoring.result import WindowResult
from slipway.monitoring.slices import Slice, choose_slices
from slipway.monitoring.window import Window

ALARMS_HEADER = ("requests in a window", "threshold", "windows", "with a false alarm", "by kind", "Evidently's preset")
MOVES_HEADER = ("move", "requests", "threshold", "windows", "found", "of these as broken", "Evidently's preset")
COST_HEADER = ("100,000 requests, 17 features and the score", "wall s", "CPU s", "largest process MiB")
SIZE_HEADER = ("requests", "GB of rows", "MB of files", "wall s", "CPU s", "largest process MiB")
START = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=1))
VERSION = 1
EVIDENTLY_WINDOWS = 20
GIGABYTE = 1e9
TYPES = {"number": pa.float64(), "category": pa.string()}

Move = Callable[[pa.Table, np.random.Generator], pa.Table]


@dataclass(frozen=True)
class Trips:
    """Real trips with the answer of the model that was trained on a part of them."""

    rows: pa.Table
    trained: Baseline  # of the run: the cells of the answers, and which columns are features
    kinds: dict[str, Kind]
    slices: tuple[tuple[str, ...], ...]  # of module.yaml

    def draw(self, seed: int, sizes: tuple[int, ...]) -> tuple[pa.Table, list[pa.Table]]:
        """Training rows and windows, of which no two share a row."""
        order = np.random.default_rng(seed).permutation(self.rows.num_rows)
        start = 2 * len(order) // 3
        windows = []
        for size in sizes:
            windows.append(self.rows.take(order[start : start + size]))
            start += size
        return self.rows.take(order[: 2 * len(order) // 3]), windows

    def baseline(self, rows: pa.Table) -> Baseline:
        """Its cells and slices chosen and counted as evaluate_model does it."""
        cells = {name: choose_cells(rows[name]) for name in self.trained.features}
        answers = {name: its.cells for name, its in self.trained.answers.items()}
        slices = [one for by in self.slices for one in choose_slices({name: rows[name] for name in by}, by)]
        counted = count_rows(rows, cells | answers, slices)
        features, scores = ({name: counted.counts[name] for name in names} for names in (cells, answers))
        new = {"rows": rows.num_rows, "features": features, "answers": scores, "slices": counted.slices}
        return self.trained.model_copy(update=new)


def read_trips(run: Mapping[str, Any], model: Path, baseline: Path) -> Trips:
    """The examples of a run of `taxi`, answered by its model."""
    examples, features = run["artifacts"]["examples"], model_inputs(read_schema(run["artifacts"]["schema"]))
    rows = pa.concat_tables([open_split(examples, "train").to_table(), open_split(examples, "eval").to_table()])
    scores = Predictor(model).predict(raw_inputs(rows, features)).reshape(-1).astype(np.float64)
    trained = Baseline.model_validate_json(baseline.read_bytes())
    rows = rows.select(list(trained.features)).append_column(SCORE, pa.array(scores))
    slices = read_config(Path("modules/taxi")).slices
    return Trips(rows, trained, {one.name: kind_of(one) for one in features}, slices)


def count_rows(rows: pa.Table, cells: Mapping[str, Cells], slices: Sequence[Slice]) -> Requests:
    """All columns counted by cell, overall and within the slices."""
    counted = Requests(slices=[Slice(columns=one.columns, values=one.values) for one in slices])
    counted.add({name: rows[name].combine_chunks() for name in rows.column_names}, rows.num_rows, cells)
    return counted


def watch(window: pa.Table, baseline: Baseline, threshold: float, previous: WindowResult | None = None) -> WindowResult:
    """One window by the monitor's own functions."""
    cells = {name: its.cells for name, its in {**baseline.features, **baseline.answers}.items()}
    found: dict[int | None, Requests] = {VERSION: count_rows(window, cells, baseline.slices)}
    config = Monitoring(threshold=threshold)
    return compare_window("taxi", VERSION, WINDOW, found, baseline, config, previous=previous)


def alarms(result: WindowResult) -> Counter[str]:
    """What says that something moved: a column or a slice, against the training rows or the window before."""
    found: Counter[str] = Counter()
    for what, moved in (("columns", result.columns), ("slices", result.slices)):
        found[what] += sum(one.baseline.drifted for one in moved)
        found[f"{what} since the window before"] += sum(bool(one.previous and one.previous.drifted) for one in moved)
    found["broken"] += len(result.broken)
    return +found


def count_false_alarms(trips: Trips, windows: int = 1000) -> Iterator[tuple[str, ...]]:
    """Stable windows of which something is said to have moved."""
    found: dict[tuple[int, float], list[Counter[str]]] = {case: [] for case in product((200, 1_000), (0.02, 0.005))}
    theirs: Counter[int] = Counter()
    for seed in range(windows):
        trained, longest = trips.draw(seed, (1_000, 1_000))
        baseline = trips.baseline(trained)
        for size in (200, 1_000):
            now, earlier = (one.slice(0, size) for one in longest)
            lower = alarms(watch(now, baseline, 0.005, watch(earlier, baseline, 0.005)))
            found[size, 0.005].append(lower)
            # What is below the lower threshold is below the higher one.
            higher = alarms(watch(now, baseline, 0.02, watch(earlier, baseline, 0.02))) if lower else lower
            found[size, 0.02].append(higher)
            if seed < EVIDENTLY_WINDOWS:
                theirs[size] += bool(evidently_drift(trips, now, trained))
    for (size, threshold), counted in found.items():
        by_kind = Counter(what for one in counted for what in one)
        said = ", ".join(f"{what}: {many}" for what, many in by_kind.items())
        share = f"{sum(map(bool, counted)) / windows:.1%}"
        yield f"{size:,}", f"{threshold:g}", f"{windows:,}", share, said, _share(theirs[size])


def rise_fares(factor: float) -> Move:
    def move(window: pa.Table, _: np.random.Generator) -> pa.Table:
        return _with(window, "fare", pc.multiply(window["fare"], factor))

    return move


def pay_by_card(window: pa.Table, rng: np.random.Generator) -> pa.Table:
    """A card share of 1.75 times."""
    paid = np.asarray(window["payment_type"].to_pylist(), object)
    card = paid == "Credit Card"
    others = rng.permutation(np.flatnonzero(~card))[: round(0.75 * card.sum())]
    paid[others] = "Credit Card"
    return _with(window, "payment_type", pa.array(paid, pa.string()))


def lose_fares(window: pa.Table, rng: np.random.Generator) -> pa.Table:
    """8 % missing where none was."""
    return _with(window, "fare", pc.if_else(pa.array(rng.random(window.num_rows) < 0.08), None, window["fare"]))


MOVES: dict[str, tuple[str, Move, tuple[int, ...], tuple[float, ...]]] = {
    "fares x 1.25": ("fare", rise_fares(1.25), (1_000,), (0.02,)),
    "card share x 1.75": ("payment_type", pay_by_card, (1_000,), (0.02,)),
    "8 % of fares missing": ("fare", lose_fares, (1_000,), (0.02,)),
    "fares x 1.1": ("fare", rise_fares(1.1), (1_000, 2_000, 3_000, 4_000), (0.02, 0.005, 0.002)),
}


def count_moves(trips: Trips, windows: int = 500) -> Iterator[tuple[str, ...]]:
    """Windows in which a move is found, in its own column; a smaller one by lower thresholds and in more requests."""
    found: Counter[tuple[str, int, float]] = Counter()
    broken: Counter[tuple[str, int]] = Counter()
    theirs: Counter[str] = Counter()
    for seed in range(windows):
        trained, (longest,) = trips.draw(seed, (4_000,))
        baseline = trips.baseline(trained)
        for name, (column, move, sizes, thresholds) in MOVES.items():
            moved = move(longest, np.random.default_rng(seed))
            for size in sizes:
                result = watch(moved.slice(0, size), baseline, thresholds[0])
                (its,) = (one for one in result.columns if one.name == column)
                broken[name, size] += bool(its.broken)
                for threshold in thresholds:
                    drifted = its.baseline.model_copy(update={"threshold": threshold}).drifted
                    found[name, size, threshold] += drifted or bool(its.broken)
            if seed < EVIDENTLY_WINDOWS:
                theirs[name] += column in evidently_drift(trips, moved.slice(0, 1_000), trained)
    for (name, size, threshold), many in found.items():
        shares = f"{many / windows:.1%}", f"{broken[name, size] / windows:.1%}"
        said = _share(theirs[name]) if size == 1_000 else ""
        yield name, f"{size:,}", f"{threshold:g}", f"{windows:,}", *shares, said


def evidently_drift(trips: Trips, now: pa.Table, trained: pa.Table) -> set[str]:
    """Features that Evidently's preset says drifted; none where it is not installed."""
    if not find_spec("evidently"):
        return set()
    names = [
        name for name in trips.kinds if min(rows[name].length() - rows[name].null_count for rows in (now, trained))
    ]
    sides = [
        {name: rows[name].combine_chunks().cast(TYPES[trips.kinds[name]], safe=False) for name in names}
        for rows in (now, trained)
    ]
    report = drift_report(names, trips.kinds, *sides).dict()
    found = set()
    for metric in report["metrics"]:
        how = metric["config"]
        if "column" in how:
            is_p_value = "p_value" in how["method"]
            if metric["value"] < how["threshold"] if is_p_value else metric["value"] >= how["threshold"]:
                found.add(how["column"])
    return found


def _share(many: int) -> str:
    return f"{many / EVIDENTLY_WINDOWS:.0%} of {EVIDENTLY_WINDOWS}" if find_spec("evidently") else ""


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def measure_cost(trips: Trips, home: Path, version: int, work: Path) -> Iterator[tuple[str, ...]]:
    """`slipway monitor run` on a log of 100,000 requests, its steps, and Evidently's page of the same window."""
    log = work / "requests"
    write_log(trips, version, log, 100_000)
    environment = {"SLIPWAY_HOME": str(home)}
    slipway = [sys.executable, "-m", "cli.main", "monitor"]
    asked = ["taxi", "--log", str(log), "--window", WINDOW.name, "--decide-only", "--json"]
    cost = measure([*slipway, "run", *asked], environment)
    for step in json.loads(cost.output[cost.output.index("{") :])["steps"]:
        yield step["name"], f"{step['seconds']:.1f}", f"{step['cpu_seconds']:.1f}", f"{step['peak_mib']:.0f}"
    yield "slipway monitor run", *_cost(cost)
    if find_spec("evidently"):
        page = measure([*slipway, "evidently", "taxi", WINDOW.name, "--log", str(log)], environment)
        yield "slipway monitor evidently, on 10,000 of them", *_cost(page)


def measure_size(trips: Trips, home: Path, version: int, work: Path) -> Iterator[tuple[str, ...]]:
    """`slipway monitor run` on a window of 100,000 requests, and on one of a gigabyte.

    The gigabyte is of rows as Arrow decodes them, with all columns; the log's files are compressed.
    """
    rows = 100_000
    for name in ("requests-small", "requests-large"):
        log = work / name
        held = write_log(trips, version, log, rows)
        files = sum(file.stat().st_size for file in log.rglob("*.parquet"))
        asked = ["taxi", "--log", str(log), "--window", WINDOW.name, "--decide-only", "--json"]
        cost = measure([sys.executable, "-m", "cli.main", "monitor", "run", *asked], {"SLIPWAY_HOME": str(home)})
        yield f"{rows:,}", f"{held / 1e9:.2f}", f"{files / 1e6:.0f}", *_cost(cost)
        rows = round(rows * GIGABYTE / held)


def write_log(trips: Trips, version: int, log: Path, rows: int) -> int:
    """Requests as the server logs them, spread over the window; trips come several times. Answers the rows' bytes."""
    held = 0
    order = np.random.default_rng(0).integers(0, trips.rows.num_rows, rows)
    folder = log / "model=taxi" / f"date={START:%Y-%m-%d}"
    folder.mkdir(parents=True)
    columns = {pa.float32(): "floats", pa.float64(): "floats", pa.int64(): "ints", pa.string(): "strings"}
    kinds = {name: columns[trips.rows.schema.field(name).type] for name in trips.trained.features}
    for first in range(0, rows, 10_000):
        asked = trips.rows.take(order[first : first + 10_000]).to_pylist()
        logged = [
            {
                "request_id": f"r{first + number}", "instance": 0, "version": version, "protocol": "rest",
                "time": START + timedelta(seconds=80_000 * (first + number) / rows), "method": "predict",
                "signature": "raw", "latency_seconds": 0.004, "scores": [row[SCORE]],
                "features": [
                    {"name": name, kind: [row[name]]} for name, kind in kinds.items() if row[name] is not None
                ],
            }
            for number, row in enumerate(asked)
        ]  # fmt: skip
        table = pa.Table.from_pylist(logged, schema())
        held += table.nbytes
        pq.write_table(table, folder / f"{first}.parquet")
    return held


def _cost(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.wall_seconds:.1f}", f"{cost.cpu_seconds:.1f}", f"{cost.peak_mib:.0f}"
