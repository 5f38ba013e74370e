"""Noise, false alarms and detection, with fixed seeds; the moves are those that the README names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from slipway.module_api import Monitoring
from slipway.monitoring.baseline import SCORE, Baseline
from slipway.monitoring.columns import Column, compare_column, follows_clock
from slipway.monitoring.compare import compare_window
from slipway.monitoring.counts import Cells, Counts, choose_cells, count
from slipway.monitoring.drift import ERROR_RATE, measure, measure_within
from slipway.monitoring.requests import Requests
from slipway.monitoring.result import WindowResult
from slipway.monitoring.slices import Slice, SliceColumn, choose_slices
from slipway.monitoring.window import Window

ROWS = 9_000
COLUMNS = 18
WINDOW = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


def population(rng: np.random.Generator, rows: int) -> dict[str, pa.Array]:
    """Columns of the shapes that trips have: long tails, ties, whole numbers, few and many texts, missing values."""
    fares = np.round(rng.gamma(2.0, 5.0, rows) * 4) / 4 + 3.25
    made = {
        "fare": pa.array(fares),
        "miles": pa.array(np.round(rng.exponential(3, rows), 1), mask=rng.random(rows) < 0.28),
        "seconds": pa.array((rng.gamma(2, 300, rows) // 60 * 60).astype(np.int64)),
        "area": pa.array(rng.zipf(1.6, rows).clip(1, 77)),
        "weekday": pa.array(rng.integers(1, 8, rows)),
        "payment": pa.array(rng.choice(["Cash", "Card", "Prcard", "Unknown"], rows, p=[0.6, 0.36, 0.03, 0.01])),
        "company": pa.array([f"C{number}" for number in rng.zipf(1.5, rows).clip(1, 60)], mask=rng.random(rows) < 0.34),
        "latitude": pa.array(rng.normal(41.9, 0.04, rows), mask=rng.random(rows) < 0.03),
    }
    return made | {f"noise{number}": pa.array(rng.normal(size=rows)) for number in range(COLUMNS - len(made))}


@pytest.fixture(scope="module")
def trained() -> dict[str, Counts]:
    return {
        name: count(values, choose_cells(values)) for name, values in population(np.random.default_rng(1), ROWS).items()
    }


def compare(window: dict[str, pa.Array], trained: dict[str, Counts], threshold: float = 0.02) -> dict[str, Column]:
    return {
        name: compare_column(
            name,
            count(values, trained[name].cells),
            values,
            trained[name],
            None,
            threshold=threshold,
            columns=COLUMNS,
        )
        for name, values in window.items()
    }


SLICES = (("payment",), ("company",), ("payment", "weekday"))


def counted(window: dict[str, pa.Array], cells: Mapping[str, Cells], slices: Sequence[Slice]) -> Requests:
    found = Requests(slices=[Slice(columns=one.columns, values=one.values) for one in slices])
    found.add(window, len(window["fare"]), cells)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rows", [200, 1_000])
def test_stable_windows_give_no_alarm(rows: int) -> None:
    """All that a window is compared by: columns and answers, slices, training and the window before."""
    rng, windows, false = np.random.default_rng(rows), 200, 0
    rows_of_training = population(rng, ROWS)
    cells = {name: choose_cells(values) for name, values in rows_of_training.items()}
    slices = [one for by in SLICES for one in choose_slices({name: rows_of_training[name] for name in by}, by)]
    trained = counted(rows_of_training, cells, slices)
    features = {name: its for name, its in trained.counts.items() if name != "noise0"}
    baseline = Baseline(
        rows=ROWS,
        features=features,
        answers={SCORE: trained.counts["noise0"]},
        label="tip",
        labels=features["weekday"],
        slices=trained.slices,
    )
    before: WindowResult | None = None
    for _ in range(windows):
        window = population(rng, rows)
        window[SCORE] = window.pop("noise0")
        found: dict[int | None, Requests] = {1: counted(window, {**cells, SCORE: cells["noise0"]}, slices)}
        # What gives no alarm by the lower threshold gives none by the default, 0.02.
        config = Monitoring(threshold=0.005, min_rows=100)
        before = compare_window("trips", 1, WINDOW, found, baseline, config, previous=before)
        columns: list[Column | SliceColumn] = [*before.columns, *before.slices]
        distances = [its for one in columns for its in (one.baseline, one.previous) if its]
        false += bool(before.broken) or any(its.drifted for its in distances)
    assert before is not None
    assert {one.slice for one in before.slices} >= {"payment=Cash"}
    assert any(one.role == "prediction" for one in before.columns)
    assert false <= 0.01 * windows


def test_chance_passes_the_noise_as_rarely_as_it_should_beside_many_more_rows() -> None:
    """200 rows beside 20,000, with 5.6 expected in most cells: the divergence alone would pass in 6 of 1,000 cases."""
    rng, cells = np.random.default_rng(1), Cells(kind="category", values=[f"v{number}" for number in range(11)])
    shares, cases, passed = [*[0.028] * 12, 0.664], 4_000, 0
    for _ in range(cases):
        now, before = (Counts(cells=cells, counts=rng.multinomial(rows, shares).tolist()) for rows in (200, 20_000))
        passed += measure(now, before, 1e-6, 1).drifted
    assert passed <= 3 * ERROR_RATE * cases


def moved(window: dict[str, pa.Array], rng: np.random.Generator, what: str) -> dict[str, pa.Array]:
    rows = len(window["fare"])
    if what == "fare":
        return window | {"fare": pa.array(np.asarray(window["fare"]) * 1.25)}
    if what == "payment":  # 0.36 to 0.63
        card = rng.random(rows) < 0.27 / 0.6
        texts = ["Card" if text == "Cash" and card[i] else text for i, text in enumerate(window["payment"].to_pylist())]
        return window | {"payment": pa.array(texts)}
    return window | {"seconds": pa.array(np.asarray(window["seconds"]), mask=rng.random(rows) < 0.08)}


@pytest.mark.parametrize(
    "what", ["fare", pytest.param("payment", marks=pytest.mark.slow), pytest.param("seconds", marks=pytest.mark.slow)]
)
def test_moves_are_found_in_a_thousand_rows(trained: dict[str, Counts], what: str) -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(100):
        one = compare(moved(population(rng, 1_000), rng, what), trained)[what]
        found += one.baseline.drifted or bool(one.broken)
    assert found >= 99


@pytest.mark.parametrize(
    ("name", "broken", "said"),
    [
        (
            "seconds",
            lambda values: pa.array(np.asarray(values), mask=np.arange(len(values)) % 5 == 0),
            "20.0% .* missing",
        ),
        ("seconds", lambda values: pa.array(np.full(len(values), 540)), "the same"),
        ("seconds", lambda values: pa.array(np.asarray(values) / 60), "1/60 of"),
        (
            "miles",
            lambda values: pa.array([v if v is None else v * 1.609344 for v in values.to_pylist()]),
            r"1\.60934 times",
        ),
        ("fare", lambda values: pa.array(np.asarray(values) * 100), "100 times"),
        ("company", lambda values: pa.array(["C1"] * len(values)), "the same"),
        ("fare", lambda values: values.cast(pa.string()), "100.0% .* no numbers"),
    ],
)
def test_a_broken_feature_is_told_from_drift(trained: dict[str, Counts], name: str, broken: object, said: str) -> None:
    window = population(np.random.default_rng(4), 3_000)
    one = compare(window | {name: broken(window[name])}, trained)[name]  # type: ignore[operator]
    assert re.search(said, one.broken), one.broken


def test_what_follows_the_clock_may_be_constant() -> None:
    """A window of a day has one month, and that is no fault of the source."""
    months = pa.array(np.arange(6_000) % 12 + 1)
    trained = {"trip_start_month": count(months, choose_cells(months))}
    one = compare({"trip_start_month": pa.array([3] * 500)}, trained)["trip_start_month"]
    assert one.baseline.drifted
    assert not one.decides
    assert not one.broken


def test_drift_is_not_broken(trained: dict[str, Counts]) -> None:
    rng = np.random.default_rng(5)
    for what in ("fare", "payment"):
        one = compare(moved(population(rng, 3_000), rng, what), trained)[what]
        assert one.baseline.drifted
        assert not one.broken


@pytest.mark.parametrize("rise", [1.3, 1.4, 1.5, 1.75, 0.7, 2.0])
def test_a_price_that_rises_is_no_unit(trained: dict[str, Counts], rise: float) -> None:
    window = population(np.random.default_rng(7), 3_000)
    one = compare(window | {"fare": pa.array(np.asarray(window["fare"]) * rise)}, trained)["fare"]
    assert one.baseline.drifted
    assert not one.broken


def test_new_categories_are_named_with_their_counts(trained: dict[str, Counts]) -> None:
    window = population(np.random.default_rng(6), 1_000)
    texts = ["App" if number % 4 == 0 else text for number, text in enumerate(window["payment"].to_pylist())]
    assert compare(window | {"payment": pa.array(texts)}, trained)["payment"].new_values == {"App": 250}


def test_a_window_has_one_month_and_one_weekday_without_being_broken(trained: dict[str, Counts]) -> None:
    def watched(values: pa.Array, decides: bool | None = None) -> Column:
        its = trained["weekday"]
        return compare_column("trip_start_day", count(values, its.cells), values, its, None, threshold=0.02, columns=18,
                              decides=decides)  # fmt: skip

    sunday = pa.array([1] * 1_000)
    assert watched(sunday).baseline.drifted
    assert not watched(sunday).broken
    assert "the same" in watched(sunday, decides=True).broken
    assert "missing" in watched(pa.array([1, None] * 500)).broken


@pytest.mark.parametrize(
    ("name", "follows"),
    [("trip_start_month", True), ("hour", True), ("orderDate", True), ("daylight", False), ("timeout_share", False)],
)
def test_columns_of_time_are_known_by_name(name: str, follows: bool) -> None:
    assert follows_clock(name) == follows


def test_counts_within_groups_move_by_chance_as_often_as_the_noise_says() -> None:
    """Groups may be of other sizes by now: only what is within them counts."""
    rng = np.random.default_rng(11)
    shares = np.array([[0.8, 0.2], [0.5, 0.5], [0.3, 0.7]])

    def draw(sizes: tuple[int, ...], of: np.ndarray = shares) -> np.ndarray:
        return np.array([rng.multinomial(size, line) for size, line in zip(sizes, of, strict=True)])

    found = [measure_within(draw((50, 400, 150)), draw((4000, 1000, 1000)), 1e-9, 1) for _ in range(2000)]
    assert sum(one.drifted for one in found) <= 8  # 2 are expected
    moved = measure_within(draw((50, 400, 150), shares[::-1]), draw((4000, 1000, 1000)), 0.02, 17)
    assert moved.drifted
    few = measure_within(draw((3, 2, 4)), draw((4000, 1000, 1000)), 0.02, 17)
    assert not few.drifted
