"""Drift within slices: false alarms with fixed seeds, moves that only a slice shows, and what is left out."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from slipway.module_api import Monitoring
from slipway.monitoring.baseline import Baseline
from slipway.monitoring.columns import Column
from slipway.monitoring.compare import compare_window
from slipway.monitoring.counts import Cells, Counts, choose_cells, count, place
from slipway.monitoring.history import describe_window
from slipway.monitoring.requests import Requests
from slipway.monitoring.result import WindowResult
from slipway.monitoring.slices import LARGEST, Slice, SliceColumn, choose_slices, count_in, places_of
from slipway.monitoring.window import Window

WINDOW = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
SPECS = (["payment"], ["zone"], ["payment", "zone"])


def draw(rng: np.random.Generator, rows: int) -> dict[str, pa.Array]:
    return {
        "fare": pa.array(np.round(rng.gamma(2.0, 5.0, rows) * 4) / 4 + 3.25),
        "miles": pa.array(np.round(rng.exponential(3, rows), 1), mask=rng.random(rows) < 0.28),
        "payment": pa.array(rng.choice(["Cash", "Card", "Other"], rows, p=[0.6, 0.36, 0.04])),
        "zone": pa.array(rng.choice([1, 2, 3, 4], rows)),
        "trip_hour": pa.array(rng.integers(0, 24, rows)),
        **{f"noise{number}": pa.array(rng.normal(size=rows)) for number in range(8)},
    }


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    rows = draw(np.random.default_rng(1), 9_000)
    cells = {name: choose_cells(values) for name, values in rows.items()}
    slices = [one for by in SPECS for one in choose_slices(rows, by)]
    groups = places_of(slices, rows)
    for name, values in rows.items():
        count_in(groups, name, place(values, cells[name]), cells[name].size)
    return Baseline(
        rows=9_000,
        features={name: count(values, cells[name]) for name, values in rows.items()},
        label="tip",
        labels=Counts(cells=Cells(kind="category"), counts=[0, 0]),
        slices=slices,
        uncounted=["pixels"],
    )


def compare(
    window: dict[str, pa.Array], baseline: Baseline, threshold: float = 0.02, previous: WindowResult | None = None
) -> WindowResult:
    requests = Requests(slices=[Slice(columns=one.columns, values=one.values) for one in baseline.slices])
    cells = {name: its.cells for name, its in baseline.features.items()}
    requests.add(window, len(window["fare"]), cells)
    config = Monitoring(threshold=threshold, key=("ride",))
    return compare_window("m", 1, WINDOW, {1: requests}, baseline, config, previous=previous)


@pytest.mark.parametrize(("rows", "threshold"), [(1_000, 0.005), pytest.param(4_000, 0.0001, marks=pytest.mark.slow)])
def test_stable_windows_give_no_alarm_in_any_slice(baseline: Baseline, rows: int, threshold: float) -> None:
    rng = np.random.default_rng(rows)
    false, windows, previous = 0, 100, None
    for _ in range(windows):
        result = compare(draw(rng, rows), baseline, threshold, previous)
        compared: list[Column | SliceColumn] = [*result.columns, *result.slices]
        false += any(one.baseline.drifted or (one.previous and one.previous.drifted) for one in compared)
        assert previous is None or all(one.previous for one in result.slices)
        previous = result
    assert false <= 0.01 * windows


def test_what_moved_in_one_slice_is_told_apart_and_trains_nothing(baseline: Baseline) -> None:
    window = draw(np.random.default_rng(3), 3_000)
    card = np.asarray(window["payment"]) == "Card"
    here = card & (np.asarray(window["zone"]) == 1)
    moved = window | {"fare": pa.array(np.where(here, np.asarray(window["fare"]) * 1.6, np.asarray(window["fare"])))}
    result = compare(moved, baseline)
    assert not result.moved
    assert next((one.slice, one.name) for one in result.moved_slices) == ("payment=Card, zone=1", "fare")
    by_cause = {one.cause: one for one in result.signals}
    assert by_cause["drift"].level < 1 < by_cause["slices"].level
    assert "fare" in by_cause["slices"].what
    assert result.verdict == "drift"


def test_what_moved_overall_is_not_told_again_by_slice(baseline: Baseline) -> None:
    window = draw(np.random.default_rng(3), 3_000)
    result = compare(window | {"fare": pa.array(np.asarray(window["fare"]) * 1.5)}, baseline)
    assert any(one.name == "fare" and one.baseline.drifted for one in result.slices)
    assert [one.name for one in result.moved] == ["fare"]
    assert result.moved_slices == []


def test_few_requests_columns_of_the_clock_and_of_the_slice_are_left_out(baseline: Baseline) -> None:
    result = compare(draw(np.random.default_rng(4), 1_000), baseline)
    assert "payment=Other" in result.few
    assert all(one.rows >= 200 for one in result.slices)
    assert {one.slice for one in result.slices}.isdisjoint(result.few)
    assert not {(one.slice.split("=")[0], one.name) for one in result.slices} & {("payment", "payment")}
    assert "trip_hour" not in {one.name for one in result.slices}


def test_without_the_slices_column_or_with_an_older_baseline_columns_alone_are_compared(baseline: Baseline) -> None:
    window = draw(np.random.default_rng(5), 1_000)
    older = baseline.model_copy(update={"slices": []})
    assert compare(window, older).slices == []
    unlogged = {name: values for name, values in window.items() if name not in ("payment", "zone")}
    assert compare(unlogged, baseline).slices == []


def test_keys_and_inputs_that_are_not_counted_are_no_new_features(baseline: Baseline) -> None:
    window = draw(np.random.default_rng(6), 300)
    more = {name: pa.array(np.arange(300)) for name in ("pixels", "ride", "tip_jar")}
    result = compare(window | more, baseline)
    assert result.new_features == ["tip_jar"]
    assert any("not compared" in said and "pixels" in said for said in describe_window(result, []))
    sliced_by = baseline.model_copy(update={"slices": [*baseline.slices, Slice(columns=["tip_jar"], values=["1"])]})
    assert compare(window | more, sliced_by).new_features == []


def test_the_largest_slices_are_kept_with_missing_values_as_one_of_them() -> None:
    values = pa.chunked_array([[f"C{number % 30}" for number in range(300)] + [None] * 50])
    slices = choose_slices({"company": values}, ["company"])
    assert len(slices) == LARGEST
    assert (slices[0].name, slices[0].rows) == ("company=(missing)", 50)
