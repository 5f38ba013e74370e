"""Columns are told apart by name and by content, in every format."""

from __future__ import annotations

import hashlib
import random
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.data.examples.source import locate
from slipway.module_kit.scaffold.columns import Column, tell_column, words_of
from slipway.module_kit.scaffold.recognise import read_table

ROWS = 600
CHANCE = random.Random(7)
MOMENTS = [datetime(2015, 1, 1, tzinfo=UTC) + timedelta(seconds=CHANCE.randrange(200_000_000)) for _ in range(ROWS)]
BIRTHS = [date(1930, 1, 1) + timedelta(days=CHANCE.randrange(25_000)) for _ in range(ROWS)]


def _drawn(low: int, high: int) -> list[int]:
    return [CHANCE.randint(low, high) for _ in range(ROWS)]


def _dates(written: str) -> list[str]:
    return [moment.strftime(written) for moment in MOMENTS]


# Name, values, kind, and words of the reason or the way a date is written.
COLUMNS: list[tuple[str, list[Any], str, str]] = [
    ("CustomerId", _drawn(15_565_701, 15_815_690), "left_out", "id"),
    ("orderID", [f"{n}-QX" for n in _drawn(1000, 99_999)], "left_out", "id"),
    ("userid", _drawn(1, 300), "left_out", "id"),
    ("store_id", _drawn(1, 20), "category", "id"),
    ("customer", [f"K{n * 7 % 90}" for n in range(ROWS)], "left_out", "names few rows each"),
    ("patient", [1000 + n * 7 % 120 for n in range(ROWS)], "left_out", "names few rows each"),
    ("RowNumber", list(range(ROWS)), "left_out", "number"),
    ("file number", [f"LP{n:06d}" for n in range(ROWS)], "left_out", "number"),
    ("counter", list(range(5000, 5000 + ROWS)), "left_out", "id"),
    ("account", _drawn(10_000_000, 99_999_999), "left_out", "id"),
    ("code_of_case", [uuid.UUID(int=CHANCE.getrandbits(128)).hex for _ in range(ROWS)], "left_out", "hashes"),
    ("u", [str(uuid.UUID(int=CHANCE.getrandbits(128))) for _ in range(ROWS)], "left_out", "UUIDs"),
    ("h", [hashlib.sha256(str(n).encode()).hexdigest() for n in range(ROWS)], "left_out", "hashes"),
    ("contact", [f"u{n}@example.com" for n in range(ROWS)], "left_out", "e-mail"),
    ("page", [f"https://example.com/{n}" for n in range(ROWS)], "left_out", "URLs"),
    ("reach", [f"({n % 800 + 100}) 555-{n:04d}" for n in range(ROWS)], "left_out", "phone"),
    ("reach2", [f"+4144{n:07d}" for n in range(ROWS)], "left_out", "whole number"),
    ("phone", [4_412_345_000_000 + n * 77 for n in range(ROWS)], "left_out", "call"),
    ("host", [f"10.0.{n // 250}.{n % 250}" for n in range(ROWS)], "left_out", "IP"),
    ("Surname", [f"Mc{n}x" for n in _drawn(1, 300)], "left_out", "names"),
    ("Name", [f"Braund, Mr. Owen {n}" for n in range(ROWS)], "left_out", "names"),
    ("ticket", [f"A/{n * 7}" for n in range(ROWS)], "left_out", "key"),
    ("zip", [f"{n:05d}" for n in _drawn(0, 40)], "category", ""),
    ("postal_code", _drawn(8000, 8060), "category", "codes"),
    ("census_tract", [17_031_000_000 + n * 100 for n in _drawn(1, 50)], "category", "codes"),
    ("start month", _drawn(1, 12), "category", "calendar"),
    ("pickup_hour", _drawn(0, 23), "category", "calendar"),
    ("member", [CHANCE.choice("YN") for _ in range(ROWS)], "category", ""),
    ("city", [f"City {n}" for n in _drawn(1, 45)], "category", ""),
    ("rating", _drawn(1, 5), "number", ""),
    ("hours_per_week", _drawn(0, 60), "number", ""),
    ("education_num", _drawn(1, 16), "number", ""),
    ("number_of_rooms", _drawn(1, 9), "number", ""),
    ("salary", _drawn(20_000, 900_000), "number", ""),
    ("year", _drawn(1980, 2024), "number", ""),
    ("size", [n / 7 for n in _drawn(1, 10**6)], "number", ""),
    ("weight", [f"{n} kg" for n in _drawn(40, 120)], "quantity", "kg"),
    ("cost", [f"${n / 7:,.2f}" for n in _drawn(1, 10**5)], "quantity", "$"),
    ("share", [f"{n}%" for n in _drawn(0, 100)], "quantity", "%"),
    ("weighed", [f"{n} {CHANCE.choice(['g', 'kg'])}" for n in _drawn(1, 900)], "left_out", "several units (g, kg)"),
    ("plan", [f"{n} months" for n in _drawn(1, 3)], "category", ""),
    ("review", [" ".join(CHANCE.choices(["good", "bad", "slow", "fine"], k=9)) for _ in range(ROWS)], "text", ""),
    ("swiss", _dates("%d.%m.%Y"), "date", "%d.%m.%Y"),
    ("american", _dates("%m/%d/%Y %I:%M %p"), "date", "%m/%d/%Y %I:%M %p"),
    ("spelt", _dates("%d-%b-%y"), "date", "%d-%b-%y"),
    ("digits", [int(text) for text in _dates("%Y%m%d")], "date", "%Y%m%d"),
    ("seconds", [int(moment.timestamp()) for moment in MOMENTS], "date", "seconds"),
    ("millis", [int(moment.timestamp() * 1000) + 7 for moment in MOMENTS], "date", "milliseconds"),
    ("birth_date", [born.isoformat() for born in BIRTHS], "date", "seconds"),
    ("iso", [moment.isoformat() for moment in MOMENTS], "date", "seconds"),
]  # fmt: skip


def _tell(path: Path, folder: Path) -> dict[str, Column]:
    train = read_table(locate(str(path), 1), folder).statistics.datasets[0]
    return {column.name: column for column in (tell_column(one, int(train.num_examples)) for one in train.features)}


@pytest.fixture(scope="module")
def csv_columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Column]:
    folder = tmp_path_factory.mktemp("columns")
    import csv

    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([name for name, *_ in COLUMNS])
        writer.writerows(zip(*(values for _, values, *_ in COLUMNS), strict=True))
    return _tell(folder / "t.csv", folder / "out")


@pytest.mark.parametrize(("name", "kind", "word"), [(name, kind, word) for name, _, kind, word in COLUMNS])
def test_tell_column(csv_columns: dict[str, Column], name: str, kind: str, word: str) -> None:
    found = csv_columns[name]
    assert found.kind == kind, found
    if kind == "date":
        assert found.written == word
    else:
        assert word in found.why


def test_tell_column_of_parquet_as_of_csv(tmp_path: Path) -> None:
    table = pa.table({
        "when": pa.array(MOMENTS, pa.timestamp("ns", "UTC")),
        "day": pa.array([moment.date() for moment in MOMENTS], pa.date32()),
        "born": pa.array(BIRTHS, pa.date32()),
        "text": [moment.isoformat() for moment in MOMENTS],
        "user_id": pa.array([None if n % 50 == 0 else float(n * 3) for n in range(ROWS)], pa.float64()),
        "plz": pa.array([None if n % 50 == 0 else float(8000 + n % 60) for n in range(ROWS)], pa.float64()),
        "picture": [b"x" * (n % 9) for n in range(ROWS)],
        "y": [n % 2 for n in range(ROWS)],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet")
    found = _tell(tmp_path / "t.parquet", tmp_path / "out")
    assert {name: column.written for name, column in found.items() if column.kind == "date"} == {
        "when": "seconds", "day": "seconds", "born": "seconds", "text": "%Y-%m-%dT%H:%M:%S",
    }  # fmt: skip
    assert {name: column.kind for name, column in found.items() if column.kind != "date"} == {
        "user_id": "left_out", "plz": "category", "picture": "left_out", "y": "number",
    }  # fmt: skip


def test_tell_column_takes_no_date_for_one_that_float32_cannot_hold(tmp_path: Path) -> None:
    days = [moment.replace(hour=0, minute=0, second=0) for moment in MOMENTS]
    written = pa.array([int(f"{day:%Y%m%d}") for day in days])
    columns = {"written": written.cast("float64"), "whole": written, "day": [day.timestamp() for day in days]}
    pq.write_table(pa.table(columns | {"y": [n % 2 for n in range(ROWS)]}), tmp_path / "t.parquet")
    found = _tell(tmp_path / "t.parquet", tmp_path / "out")
    assert {name: (column.kind, column.written) for name, column in found.items() if name != "y"} == {
        "written": ("number", ""), "whole": ("date", "%Y%m%d"), "day": ("date", "seconds"),
    }  # fmt: skip


def test_tell_column_says_that_a_date_may_be_read_in_two_ways(tmp_path: Path) -> None:
    lines = ["d,y", *(f"{n % 12 + 1:02d}/{n % 11 + 1:02d}/2024,{n % 2}" for n in range(ROWS))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    found = _tell(tmp_path / "t.csv", tmp_path / "out")["d"]
    assert (found.kind, found.written) == ("date", "%d/%m/%Y")
    assert "%m/%d/%Y" in found.why


@pytest.mark.parametrize("name", ["CustomerID", "customer_id", "customer id", "customerId", "CUSTOMER-ID"])
def test_words_of_a_name(name: str) -> None:
    assert words_of(name) == ("customer", "id")
