"""CSV and Parquet of one table give the same columns, values and splits."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.slipway.data.examples.ingesting import ingest

ROWS = 200
START = dt.datetime(2024, 3, 9, 12, 0, 0, 250_000)
TIMES = [None if n % 11 == 0 else START + dt.timedelta(hours=7 * n, milliseconds=n) for n in range(ROWS)]
ZONE = dt.timezone(dt.timedelta(hours=2))
HASHES = [2**64 - 1 - n * 10**15 for n in range(ROWS)]
COLUMNS: dict[str, pa.Array] = {
    "id": pa.array(range(ROWS)),
    "price": pa.array([n / 4 if n % 5 else None for n in range(ROWS)]),
    "vip": pa.array([n % 3 == 0 for n in range(ROWS)]),
    "name": pa.array([f"name {n % 7}" if n % 3 else None for n in range(ROWS)]),
    "made": pa.array(TIMES, pa.timestamp("ns")),
    "sold": pa.array([time and time.replace(tzinfo=ZONE) for time in TIMES], pa.timestamp("ns", tz="+02:00")),
    "day": pa.array([time and time.date() for time in TIMES]),
    "hash": pa.array(HASHES, pa.uint64()),
    "small": pa.array(range(ROWS), pa.uint64()),
    "y": pa.array([n % 2 if n % 10 else None for n in range(ROWS)]),
}


def _write(folder: Path) -> tuple[Path, Path]:
    """The table as both, the CSV as pandas writes it."""
    table = pa.table(COLUMNS)
    pq.write_table(table, folder / "table.parquet")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.column_names)
        writer.writerows(["" if value is None else value for value in row.values()] for row in table.to_pylist())
    return folder / "table.csv", folder / "table.parquet"


@pytest.mark.parametrize(
    "split",
    [None, {"method": "time", "column": "sold", "eval_from": "2024-04-10T05:00:00+02:00"},
     {"method": "time", "column": "made", "eval_from": "2024-03-14T22:00:00.268"},
     {"method": "column", "column": "vip", "train": [False], "eval": [True]}],
)  # fmt: skip
def test_ingest_one_table_as_csv_and_as_parquet_gives_the_same_examples(
    tmp_path: Path, split: dict[str, Any] | None
) -> None:
    from_csv, from_parquet = (
        ingest(path, tmp_path / path.suffix, split=split, times="seconds") for path in _write(tmp_path)
    )
    assert from_csv.manifest.columns == from_parquet.manifest.columns
    assert from_csv.rows == from_parquet.rows
    assert from_csv.rows.unlabelled == ROWS / 10
    for name in ("train", "eval"):
        assert from_csv.table(name).to_pylist() == from_parquet.table(name).to_pylist(), name
    kinds = from_csv.manifest.columns
    assert {kinds[name] for name in ("made", "sold", "day", "small")} == {"int64"}
    assert kinds["hash"] == "string"


def test_ingest_csv_times_stay_text_unless_seconds_are_asked_for(tmp_path: Path) -> None:
    path, _ = _write(tmp_path)
    assert ingest(path, tmp_path / "out").manifest.columns["made"] == "string"


def test_ingest_time_column_with_another_text_late_is_text(tmp_path: Path) -> None:
    lines = [f"{n},2024-01-{n % 28 + 1:02d},{n % 2}" for n in range(3000)]
    lines[2900] = "2900,unknown,0"
    (tmp_path / "t.csv").write_text("id,x,y\n" + "\n".join(lines) + "\n")
    ingested = ingest(tmp_path / "t.csv", tmp_path / "out", times="seconds")
    assert ingested.manifest.columns["x"] == "string"
    assert ingested.rows.quarantined == 0


@pytest.mark.parametrize("times", ["text", "seconds"])
def test_ingest_schema_of_the_parquet_file_fits_the_csv_file(tmp_path: Path, times: str) -> None:
    path, parquet = _write(tmp_path)
    schema = 'feature { name: "made" type: INT } feature { name: "day" type: INT } feature { name: "hash" type: BYTES }'
    ingested = ingest(path, tmp_path / "out", schema=schema, times=times)
    assert ingested.rows.quarantined == 0
    assert ingested.column("made") == ingest(parquet, tmp_path / "other").column("made")


def test_ingest_unsigned_value_beyond_a_curated_integer_goes_to_quarantine(tmp_path: Path) -> None:
    values = pa.array([1] * 199 + [2**64 - 1], pa.uint64())
    pq.write_table(pa.table({"id": range(200), "h": values, "y": [0, 1] * 100}), tmp_path / "t.parquet")
    ingested = ingest(tmp_path / "t.parquet", tmp_path / "out", schema='feature { name: "h" type: INT }')
    assert ingested.manifest.columns["h"] == "int64"
    assert [row["line"] for row in ingested.quarantine()] == [200]
