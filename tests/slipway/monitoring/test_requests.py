"""Windows of a log as the server writes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.request_log import schema
from slipway.data.tensors import MISSING_INT
from slipway.errors import ConfigError, StoreError
from slipway.monitoring import log_reader
from slipway.monitoring.counts import choose_cells
from slipway.monitoring.log_reader import LogReader, check_log
from slipway.monitoring.requests import Requests, answered_rows, columns_of, count_requests
from slipway.monitoring.window import Window, find_window, last_window
from slipway.remote.objects import Objects
from slipway.stores import storage
from tests.fakes.fault_proxy import FaultProxy

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = Window(START, START + DAY)
CELLS = {"fare": choose_cells(pa.array([1.0, 2.0, 3.0] * 10)), "company": choose_cells(pa.array(["A", "B"]))}


def feature(name: str, value: Any) -> dict[str, Any]:
    kinds = {int: "ints", float: "floats", str: "strings", bytes: "bytes"}
    return {"name": name, kinds[type(value)]: [value]}


def row(number: int, time: datetime, version: int | None = 1, **features: Any) -> dict[str, Any]:
    return {
        "request_id": f"r{number}", "instance": 0, "time": time, "version": version, "protocol": "rest",
        "method": "predict", "signature": "raw", "latency_seconds": 0.01,
        "features": [feature(name, value) for name, value in features.items()] or None,
        "classes": None, "scores": [0.5], "outputs": None,
    }  # fmt: skip


def write(log: Path, name: str, rows: list[dict[str, Any]], date: str = "2026-03-01") -> Path:
    file = log / "model=taxi" / f"date={date}" / f"{name}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema()), file)
    return file


def counted(log: Path, window: Window = WINDOW) -> tuple[dict[int | None, Requests], int]:
    return count_requests(LogReader(str(log), "taxi"), window, {1: CELLS})


def test_a_row_belongs_to_the_window_of_its_time_whatever_its_file_is_called(tmp_path: Path) -> None:
    noon = START + timedelta(hours=12)
    write(tmp_path, "late", [row(1, noon - timedelta(microseconds=1), fare=1.0), row(2, noon, fare=1.0)])
    write(tmp_path, "own", [row(3, START + DAY - timedelta(microseconds=1), fare=1.0)])
    write(tmp_path, "next", [row(4, START + DAY, fare=1.0)], "2026-03-02")
    assert counted(tmp_path, Window(START, noon))[0][1].rows == 1
    assert counted(tmp_path, Window(noon, START + DAY))[0][1].rows == 2
    assert counted(tmp_path, Window(START, START + 2 * DAY))[0][1].rows == 4


def test_a_file_without_requests_of_the_window_is_not_decoded(tmp_path: Path) -> None:
    noon = START + timedelta(hours=12)
    file = write(tmp_path, "before", [row(1, START, fare=1.0)])
    content = bytearray(file.read_bytes())
    content[4:200] = bytes(196)
    file.write_bytes(content)
    write(tmp_path, "own", [row(2, noon, fare=1.0)])
    found, damaged = counted(tmp_path, Window(noon, START + DAY))
    assert (found[1].rows, damaged) == (1, 0)
    assert counted(tmp_path, Window(START, noon))[1] == 1


def test_versions_are_kept_apart_and_rows_without_features_are_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a",
        [row(1, START, 1, fare=1.0), row(2, START, 2, fare=9.0), row(3, START, None, fare=1.0), row(4, START)],
    )
    found, damaged = counted(tmp_path)
    assert {version: requests.rows for version, requests in found.items()} == {1: 1, 2: 1, None: 1}
    assert found[2].counts == {}
    assert damaged == 0


def test_left_out_features_and_markers_count_as_missing_also_across_files(tmp_path: Path) -> None:
    write(tmp_path, "a", [row(1, START, fare=float("nan"), company=""), row(2, START, fare=MISSING_INT, company="C")])
    write(tmp_path, "b", [row(3, START, company="A"), row(4, START, fare=2, company="A")])
    requests = counted(tmp_path)[0][1]
    assert requests.counts["fare"].counts[-1] == 3
    assert requests.counts["company"].counts == [2, 0, 1, 1]  # A, B, other, missing
    assert len(requests.samples["company"]) == 4


def test_a_feature_that_training_did_not_have_is_seen(tmp_path: Path) -> None:
    write(tmp_path, "a", [row(1, START, fare=1.0, tip=2), row(2, START, fare=1.0, tip="no")])
    assert "tip" in counted(tmp_path)[0][1].samples


def test_a_damaged_file_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a", [row(1, START, fare=1.0)])
    write(tmp_path, "b", [row(2, START, fare=1.0)]).write_bytes(b"PAR1 half a file")
    found, damaged = counted(tmp_path)
    assert (found[1].rows, damaged) == (1, 1)


def test_a_place_without_a_log_is_refused_and_an_empty_one_is_not(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no-log: there is no log at this place; correct --log"):
        check_log(str(tmp_path / "no-log"))
    check_log(str(tmp_path))
    (tmp_path / "models").mkdir()
    with pytest.raises(StoreError, match=r"no folder model=…, but models; correct --log"):
        check_log(str(tmp_path))
    write(tmp_path, "a", [row(1, START, fare=1.0)])
    check_log(str(tmp_path))


def test_a_log_without_the_window_is_empty(tmp_path: Path) -> None:
    assert counted(tmp_path) == ({}, 0)


def test_columns_of_rows_have_a_value_or_null_in_each_row() -> None:
    rows = [[feature("a", 1), feature("b", "x")], [feature("b", "y")], [], [feature("a", 2.5)]]
    features = pa.array(rows, schema().field("features").type)
    found = {name: column.to_pylist() for name, column in columns_of(features).items()}
    assert found == {"a": [1.0, None, None, 2.5], "b": ["x", "y", None, None]}


def test_of_texts_and_numbers_all_are_texts() -> None:
    rows = [[feature("a", 1)], [feature("a", "x")], [feature("a", 2.5)], [], [feature("a", 3.0)]]
    features = pa.array(rows, schema().field("features").type)
    assert columns_of(features)["a"].to_pylist() == ["1", "x", "2.5", None, "3"]


def test_a_text_among_numbers_counts_alone(tmp_path: Path) -> None:
    fares = [*(1.0 + place % 4 for place in range(40)), "x"]
    alike = [row(place, START, fare=fare, company="A") for place, fare in enumerate(fares)]
    write(tmp_path, "one", [*alike, row(90, START, company=7), row(91, START, company="B", fare="y")])
    found = counted(tmp_path)[0][1]
    assert found.counts["fare"].counts == [0, 10, 10, 20, 2, 1]
    assert found.counts["company"].counts == [41, 1, 1, 0]
    assert found.rows == 43


@pytest.mark.parametrize(
    ("now", "hours", "start"),
    [
        ("2026-03-05T10:30:00+00:00", 24, "2026-03-04T00:00:00Z"),
        ("2026-03-05T10:30:00+02:00", 1, "2026-03-05T07:00:00Z"),
    ],
)
def test_last_window_is_the_newest_that_is_over(now: str, hours: int, start: str) -> None:
    assert last_window(datetime.fromisoformat(now), timedelta(hours=hours)).name == start


@pytest.mark.parametrize(
    ("asked", "days", "start"),
    [("2026-03-02", 1, "2026-03-02"), ("2026-03-02T02:00:00+02:00", 1, "2026-03-02"), ("2026-03-05", 7, "2026-03-05")],
)
def test_a_window_is_asked_for_by_its_start_in_any_time_zone(asked: str, days: int, start: str) -> None:
    assert find_window(asked, days * DAY, datetime(2026, 3, 20, tzinfo=UTC)).name == f"{start}T00:00:00Z"


@pytest.mark.parametrize(
    ("asked", "days", "said"),
    [
        ("yesterday", 1, "'yesterday' is no moment"),
        ("2026-03", 1, "'2026-03' is no moment"),
        ("2026-03-02T01:00:00+02:00", 1, "starts at 2026-03-01T00:00:00Z"),
        ("2026-03-02", 7, "starts at 2026-02-26T00:00:00Z"),
        ("2026-03-20", 1, "not over before 2026-03-21T00:00:00Z"),
        ("9999-12-31", 1, "'9999-12-31'.*no log"),
        ("0001-01-01", 7, "'0001-01-01'.*no log"),
    ],
)
def test_a_start_that_no_window_has_is_refused_with_one(asked: str, days: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        find_window(asked, days * DAY, datetime(2026, 3, 20, 12, tzinfo=UTC))


def test_of_a_log_in_a_bucket_no_more_is_fetched_than_a_window_needs(tmp_path: Path, fault_proxy: FaultProxy) -> None:
    """Each small file is fetched for its times, and once more for its window; of a large one the columns asked for."""
    hours = [Window(START + hour * timedelta(hours=1), START + (hour + 1) * timedelta(hours=1)) for hour in range(6)]
    for number, hour in enumerate(hours):
        upload(write(tmp_path, f"{number}", [row(number, hour.start, fare=1.0)]), fault_proxy)
    upload(write(tmp_path, "day-before", [row(9, START - DAY, fare=1.0)], "2026-02-28"), fault_proxy)
    reader = LogReader(fault_proxy.uri("log"), "taxi")
    fault_proxy.requests.clear()
    assert [answered_rows(reader, hour, [])[1].rows["request_id"].to_pylist() for hour in hours] == [
        [f"r{number}"] for number in range(6)
    ]
    fetched = [one for one in fault_proxy.requests if ".parquet" in one]
    assert len(fetched) == 2 * len(hours) - 1
    assert not any("day-before" in one for one in fetched)


def upload(file: Path, to: FaultProxy) -> None:
    storage.copy(str(file), to.uri(f"log/{'/'.join(file.parts[-3:])}"))


def test_a_large_file_in_a_bucket_is_read_by_range(
    tmp_path: Path, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges: list[int] = []
    read_range = Objects.read_range

    def counted_range(*given: Any) -> bytes:
        content = read_range(*given)
        ranges.append(len(content))
        return content

    monkeypatch.setattr(Objects, "read_range", counted_range)
    monkeypatch.setattr(log_reader, "WHOLE_BYTES", 0)
    rng = np.random.default_rng(1)
    rows = [row(number, START, text=rng.bytes(2000).hex()) for number in range(2000)]
    file = write(tmp_path, "large", rows)
    upload(file, fault_proxy)
    reader = LogReader(fault_proxy.uri("log"), "taxi")
    assert answered_rows(reader, WINDOW, [])[1].rows.num_rows == 2000
    assert sum(ranges) < file.stat().st_size / 2, "without the features"
