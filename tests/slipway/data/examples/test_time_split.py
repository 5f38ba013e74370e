"""A split by time compares moments, whatever they are written as."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.errors import ConfigError, DataError
from tests.slipway.data.examples.ingesting import Ingested, ingest
from tests.slipway.data.examples.row_files import WRITERS

DAYS = [dt.datetime(2023, 7, 1) + dt.timedelta(days=n) for n in range(600)]


def _split(folder: Path, times: list[Any], eval_from: Any, extension: str = ".csv", **options: Any) -> Ingested:
    path = folder / f"data{extension}"
    WRITERS[extension](path, [{"id": n, "day": time, "y": n % 2} for n, time in enumerate(times)])
    split = {"method": "time", "column": "day", "eval_from": eval_from, **options}
    return ingest(path, folder / "out", split=split)


def _eval_ids(ingested: Ingested) -> list[int]:
    return sorted(ingested.table("eval").column("id").to_pylist())


@pytest.mark.parametrize(
    "eval_from", [70, 70.0, "70", "70.0", 69.5, "1970-01-01T00:01:10", "1970-01-01 01:01:10+01:00"]
)
@pytest.mark.parametrize("written", ["{0}", pytest.param("{0}.0", marks=pytest.mark.slow), "0000{0}"])
def test_ingest_time_split_of_numbers(tmp_path: Path, written: str, eval_from: Any) -> None:
    """Numbers with leading zeros are text: a number is compared with them as a number, a moment is not."""
    times = [written.format(number) for number in range(100)]
    if written.startswith("0") and ":" in str(eval_from):
        with pytest.raises(DataError, match="hold no time that can be compared, such as '00000'"):
            _split(tmp_path, times, eval_from)
    else:
        ingested = _split(tmp_path, times, eval_from)
        assert _eval_ids(ingested) == list(range(70, 100))
        assert ingested.rows.train == 70


def test_ingest_time_split_of_long_numbers_is_exact(tmp_path: Path) -> None:
    """Nanoseconds since 1970: 19 digits, which are text in CSV, and of which a double keeps 16."""
    first = 1_717_200_000_000_000_000
    for extension, times in (
        (".csv", [str(first + n) for n in range(100)]),
        (".parquet", [first + n for n in range(100)]),
    ):
        assert _eval_ids(_split(tmp_path, times, first + 70, extension)) == list(range(70, 100))


@pytest.mark.parametrize(
    "extension",
    [
        ".csv",
        ".parquet",
        pytest.param(".avro", marks=pytest.mark.slow),
        pytest.param(".tfrecord", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("eval_from", ["01/06/2024", "2024-06-01"])
def test_ingest_texts_that_are_no_iso_8601_are_refused(tmp_path: Path, extension: str, eval_from: str) -> None:
    times = [f"{day:%d/%m/%Y}" for day in DAYS]
    with pytest.raises((ConfigError, DataError)) as caught:
        _split_texts(tmp_path, times, eval_from, extension)
    said = str(caught.value)
    assert "'day'" in said
    if eval_from == "01/06/2024":
        assert "eval_from" in said
        assert "'01/06/2024'" in said
        assert "split.format" in said
    else:
        assert "600 of 600 rows" in said
        assert "'01/07/2023'" in said
        assert "split.format" in said


def _split_texts(folder: Path, times: list[Any], eval_from: Any, extension: str, **options: Any) -> Ingested:
    if extension != ".avro":
        return _split(folder, times, eval_from, extension, **options)
    import fastavro

    fields = [{"name": "id", "type": "long"}, {"name": "day", "type": "string"}, {"name": "y", "type": "long"}]
    rows = [{"id": n, "day": time, "y": n % 2} for n, time in enumerate(times)]
    with (folder / "data.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema({"type": "record", "name": "row", "fields": fields}), rows)
    split = {"method": "time", "column": "day", "eval_from": eval_from, **options}
    return ingest(folder / "data.avro", folder / "out", split=split)


@pytest.mark.parametrize(
    "extension",
    [
        ".csv",
        ".parquet",
        pytest.param(".avro", marks=pytest.mark.slow),
        pytest.param(".tfrecord", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("eval_from", ["01/06/2024", "2024-06-01"])
def test_ingest_format_says_how_times_are_written(tmp_path: Path, extension: str, eval_from: str) -> None:
    times = [f"{day:%d/%m/%Y}" for day in DAYS]
    ingested = _split_texts(tmp_path, times, eval_from, extension, format="%d/%m/%Y")
    assert _eval_ids(ingested) == [n for n, day in enumerate(DAYS) if day >= dt.datetime(2024, 6, 1)]


def test_ingest_format_reads_numbers_too(tmp_path: Path) -> None:
    """Days without separators are whole numbers to CSV; the first of the month comes before the second of the last."""
    times = [f"{day:%d%m%Y}"[0 if day.day > 9 else 1 :] for day in DAYS if day.day > 9]
    days = [day for day in DAYS if day.day > 9]
    ingested = _split(tmp_path, times, 11062024, format="%d%m%Y")
    assert _eval_ids(ingested) == [n for n, day in enumerate(days) if day >= dt.datetime(2024, 6, 11)]


@pytest.mark.parametrize("extension", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("written", "eval_from"), [("%d%m%Y", "01062024"), ("%m%d%Y", "06012024"), ("%d%m%Y", 13062024)]
)
def test_ingest_days_that_end_with_their_year_are_no_numbers(
    tmp_path: Path, written: str, eval_from: Any, extension: str
) -> None:
    times = [f"{day:{written}}" for day in DAYS]
    with pytest.raises(ConfigError, match=r"the year counts least.*split\.format"):
        _split(tmp_path, times, eval_from, extension)
    assert _eval_ids(_split(tmp_path, [12_012_023, 12_012_024], "12012024.0", ".parquet")) == [1]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("%Y%q", "'%Y%q'"),
        ("", "format"),
        ("%d/%m/%Y", "'soon'"),
        ("%d/%m", "without a year"),
        ("%H:%M", "without a year"),
    ],
    ids=["unknown", "empty", "eval_from", "day", "time of day"],
)
def test_ingest_format_that_cannot_be_used_is_told(tmp_path: Path, pattern: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _split(tmp_path, [f"{day:%d/%m/%Y}" for day in DAYS], "soon", format=pattern)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-06-01", "2024-06-01T00:00:00"),
        ("2024-6-1", "2024-06-01T00:00:00"),
        pytest.param(" 2024-06-01 ", "2024-06-01T00:00:00", marks=pytest.mark.slow),
        ("2024-06-01 12:30", "2024-06-01T12:30:00"),
        pytest.param("2024-06-01T12:30:00", "2024-06-01T12:30:00", marks=pytest.mark.slow),
        pytest.param("2024-06-01t12:30:00z", "2024-06-01T12:30:00", marks=pytest.mark.slow),
        ("2024-06-01  12:30:00 UTC", "2024-06-01T12:30:00"),
        ("2024-06-01T12:30:00+02:00", "2024-06-01T10:30:00"),
        pytest.param("2024-06-01T12:30:00 -0530", "2024-06-01T18:00:00", marks=pytest.mark.slow),
        pytest.param("2024-06-01T00:30+02", "2024-05-31T22:30:00", marks=pytest.mark.slow),
        ("2024-06-01T12:30:00.25", "2024-06-01T12:30:00.25"),
        pytest.param("2024-06-01 12:30:00,250Z", "2024-06-01T12:30:00.25", marks=pytest.mark.slow),
        ("2024-06-01T12:30:00.250000999", "2024-06-01T12:30:00.25"),
        pytest.param("2024-05-31T24:00", "2024-06-01T00:00:00", marks=pytest.mark.slow),
    ],
)
def test_ingest_text_is_the_moment_that_it_means(tmp_path: Path, text: str, moment: str) -> None:
    """To the microsecond, as a value of the column and as `eval_from`."""
    exact = dt.datetime.fromisoformat(moment)
    around = [(exact + dt.timedelta(microseconds=n)).isoformat() for n in (-1, 0, 1)]
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"id": range(4), "day": [*around, text], "y": [0, 1, 0, 1]}), path)
    for eval_from, later in ((around[1], [1, 2, 3]), (around[2], [2]), (text, [1, 2, 3])):
        split = {"method": "time", "column": "day", "eval_from": eval_from}
        assert _eval_ids(ingest(path, tmp_path / "out", split=split)) == later


@pytest.mark.parametrize(
    "text", ["01-06-24", "2024/06/01", "01.06.2024", "2024-02-30", "2024-06-01T25:00", "June 1, 2024", "n/a", "now",
             "infinity", "2024-06-01 12:00 Europe/Berlin", "20240601T120000Z", "2024-06-01T12:00+02:99"],
)  # fmt: skip
def test_ingest_single_text_that_is_no_moment_is_refused(tmp_path: Path, text: str) -> None:
    times = [f"{day:%Y-%m-%d}" for day in DAYS]
    with pytest.raises(DataError) as caught:
        _split(tmp_path, [*times, text.replace(",", ";")], "2024-06-01")
    assert "1 of 601 rows" in str(caught.value)
    assert repr(text.replace(",", ";")) in str(caught.value)


def test_ingest_row_without_a_time_is_left_out(tmp_path: Path) -> None:
    ingested = _split(tmp_path, [*(f"{day:%Y-%m-%d}" for day in DAYS), "", " "], "2024-06-01")
    assert (ingested.rows.train + ingested.rows.eval, ingested.rows.left_out) == (600, 2)


def test_ingest_fraction_of_a_second_counts_in_columns_of_times(tmp_path: Path) -> None:
    """The examples hold whole seconds; the split is by the moments themselves."""
    start = dt.datetime(2024, 6, 1)
    for extension, times in (
        (".csv", [(start + dt.timedelta(milliseconds=10 * n)).isoformat() for n in range(100)]),
        (".parquet", [start + dt.timedelta(milliseconds=10 * n) for n in range(100)]),
    ):
        assert _eval_ids(_split(tmp_path, times, "2024-06-01T00:00:00.7Z", extension)) == list(range(70, 100))


def test_ingest_time_split_of_dates_by_seconds(tmp_path: Path) -> None:
    seconds = int(dt.datetime(2024, 6, 1, tzinfo=dt.UTC).timestamp())
    for eval_from in (seconds, "2024-06-01"):
        ingested = _split(tmp_path, [day.date() for day in DAYS], eval_from, ".parquet")
        assert _eval_ids(ingested) == [n for n, day in enumerate(DAYS) if day >= dt.datetime(2024, 6, 1)]


def test_ingest_time_split_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'day' holds numbers.*not 'soon'"):
        _split(tmp_path, list(range(100)), "soon")
    with pytest.raises(ConfigError, match=r"'day', which holds BIGINT\[\]"):
        _split(tmp_path, [[number] for number in range(100)], 7, ".parquet")


def test_ingest_unreadable_time_in_a_row_for_quarantine_is_not_told(tmp_path: Path) -> None:
    """One row has a stray quote, and one no number."""
    rows = [f"{n},{day:%Y-%m-%d},{n % 2}" for n, day in enumerate(DAYS)]
    rows[300:302] = ['300,"2024,0', "oops,13/07/2023,1"]
    (tmp_path / "data.csv").write_text("\n".join(["id,day,y", *rows]) + "\n", encoding="utf-8")
    split = {"method": "time", "column": "day", "eval_from": "2024-06-01"}
    ingested = ingest(tmp_path / "data.csv", tmp_path / "out", split=split)
    assert [bad["line"] for bad in ingested.quarantine()] == [302, 303]
    assert ingested.rows.train + ingested.rows.eval == 598
