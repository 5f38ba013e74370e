"""Dates are read by TensorFlow as Python reads them."""

from __future__ import annotations

import math
import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.module_parts.dates import PAIRED, UNITS, Date, date_pattern, days_between, pairs, read_date

MOMENTS = [
    datetime(1900, 3, 1), datetime(1969, 12, 31, 23, 59, 59), datetime(1970, 1, 1), datetime(2000, 2, 29, 12),
    datetime(2024, 2, 29, 0, 30), datetime(2023, 12, 31, 11, 5, 7),
    *(datetime(1901, 1, 1) + timedelta(seconds=random.Random(3).randrange(4_000_000_000) + 86_401 * n)
      for n in range(50)),
]  # fmt: skip


def _feature(values: list[Any]) -> Any:
    import tensorflow as tf

    kept = [(row, value) for row, value in enumerate(values) if value is not None]
    dtype = tf.string if any(isinstance(value, str) for _, value in kept) else tf.int64
    if any(isinstance(value, float) for _, value in kept):
        dtype = tf.float32
    return tf.SparseTensor(
        [[row, 0] for row, _ in kept], tf.constant([value for _, value in kept], dtype), [len(values), 1]
    )


def _assert_parts(date: Date, moments: list[datetime | None], day_only: bool = False) -> None:
    for row, moment in enumerate(moments):
        year, days = float(date.year[row]), float(date.days_since_1970[row])
        texts = [part[row].numpy().decode() for part in date[2:]]
        if moment is None:
            assert math.isnan(year)
            assert math.isnan(days)
            assert texts == ["", "", ""]
            continue
        exact = moment.replace(tzinfo=UTC).timestamp() / 86_400
        assert year == moment.year
        assert days == pytest.approx(math.floor(exact) if day_only else exact, abs=1e-5)
        assert texts == [str(moment.month), str(moment.weekday()), "0" if day_only else str(moment.hour)]


@pytest.mark.parametrize("unit", UNITS)
def test_read_date_of_a_number_since_1970(unit: str) -> None:
    numbers = [round(moment.replace(tzinfo=UTC).timestamp()) * UNITS[unit] for moment in MOMENTS]
    _assert_parts(read_date(_feature([*numbers, None]), unit), [*MOMENTS, None])


@pytest.mark.parametrize(
    ("written", "day_only"),
    [
        ("%d/%m/%Y", True), ("%m/%d/%Y", True), ("%d.%m.%Y", True), ("%Y-%m-%d", True), ("%b %d, %Y", True),
        ("%d-%b-%Y", True), ("%d/%m/%Y %H:%M:%S", False), ("%Y-%m-%dT%H:%M:%S", False), ("%m/%d/%Y %I:%M:%S %p", False),
    ],
)  # fmt: skip
def test_read_date_of_a_text_as_strptime_reads_it(written: str, day_only: bool) -> None:
    texts = [moment.strftime(written) for moment in MOMENTS]
    _assert_parts(
        read_date(_feature([*texts, None, "soon", "99/99/2024"]), written), [*MOMENTS, None, None, None], day_only
    )


@pytest.mark.parametrize(
    "text",
    ["31/02/2024 10:00", "29/02/2023 10:00", "30/02/2024 10:00", "31/04/2024 10:00", "31/11/2024 10:00",
     "00/01/2024 10:00", "01/00/2024 10:00", "01/13/2024 10:00", "01/01/2024 24:00", "01/01/2024 10:60"],
)  # fmt: skip
def test_read_date_of_one_that_there_is_not_is_missing(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not match|out of range|must be in range|unconverted"):
        datetime.strptime(text, "%d/%m/%Y %H:%M")
    _assert_parts(read_date(_feature([text, "29/02/2024 10:00"]), "%d/%m/%Y %H:%M"), [None, datetime(2024, 2, 29, 10)])


@pytest.mark.parametrize("text", ["01/01/2024 00:10 pm", "01/01/2024 13:10 pm"])
def test_read_date_of_an_hour_that_a_clock_of_twelve_does_not_have_is_missing(text: str) -> None:
    _assert_parts(read_date(_feature([text]), "%d/%m/%Y %I:%M %p"), [None])


def test_read_date_takes_fractions_zones_and_full_names_of_months() -> None:
    texts = ["2024-02-03T04:05:06.789Z", " 2024-02-03T04:05:06 UTC", "2024-02-03T04:05:06+02:00"]
    _assert_parts(read_date(_feature(texts), "%Y-%m-%dT%H:%M:%S"), [datetime(2024, 2, 3, 4, 5, 6)] * 3)
    _assert_parts(read_date(_feature(["3 February 2024", "3 Feb. 2024"]), "%d %b %Y"), [datetime(2024, 2, 3)] * 2)
    _assert_parts(read_date(_feature(["3/2/68", "3/2/69"]), "%d/%m/%y"), [datetime(2068, 2, 3), datetime(1969, 2, 3)])


def test_read_date_of_a_whole_number_with_year_month_and_day() -> None:
    _assert_parts(read_date(_feature([20240131, 19991201, None]), "%Y%m%d"),
                  [datetime(2024, 1, 31), datetime(1999, 12, 1), None])  # fmt: skip


def test_date_pattern_is_one_that_python_reads_too() -> None:
    pattern, directives = date_pattern("%d/%m/%Y %H:%M")
    assert directives == ["%d", "%m", "%Y", "%H", "%M"]
    found = re.fullmatch(pattern, "1/12/2024  07:30")
    assert found
    assert found.groups() == ("1", "12", "2024", "07", "30")


def test_days_between_each_two_of_few_dates_and_to_the_first_of_many() -> None:
    dates = [read_date(_feature([f"2024-01-{day:02}", None]), "%Y-%m-%d") for day in (1, 3, 9)]
    assert [float(days[0]) for days in days_between(dates)] == [-2, -8, -6]
    assert all(math.isnan(float(days[1])) for days in days_between(dates))
    assert len(pairs(range(PAIRED))) == 28
    assert pairs(range(250)) == [(0, other) for other in range(1, 250)], "pairs would be 31,125"
