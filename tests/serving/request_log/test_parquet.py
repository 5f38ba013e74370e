"""The files as their readers see them: one schema over models, versions and days."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from serving.request_log import LogOptions, RequestLog, schema
from serving.request_log.parquet import CHUNK_BYTES, LogFile
from tests.serving.request_log.calls import DAY, files_of, rest_call

DECISION = Path(__file__).parents[3] / "docs" / "decisions" / "0009-request-log-schema.md"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two models; one gets a version that has a feature more, is sent 2 instead of 2.5, and answers two outputs."""
    folder = tmp_path / "log"
    calls: list[tuple[Any, Any, dict[str, Any]]] = [
        ({"instances": [{"fare": 2.5, "company": "Blue"}]}, {"predictions": [0.5]}, {"version": 1}),
        (
            {"instances": [{"fare": 2, "tip": 1.5}]},
            {"predictions": [{"scores": [0.75], "risk": 7}]},
            {"version": 2, "started": DAY + 86_400},
        ),
        ({"instances": [{"pixels": [[1, 2], [3, 4]]}]}, {"predictions": [[0.1, 0.9]]}, {"model": "digits"}),
    ]
    for request, answer, changes in calls:  # a process each, as pods have
        with RequestLog(LogOptions(str(folder), fields=("*",))) as log:
            log.offer(rest_call(request, answer, **({"started": DAY} | changes)))
    return folder


def test_file_rows_that_arrow_refuses_do_not_spoil_others() -> None:
    head: tuple[Any, ...] = (datetime.now(UTC), 1, "rest", "predict", "s", 0.1)
    good, bad = ("id", 0, *head, [], None, [0.5], [], None), ("id", "no number", *head, [], None, [0.5], [], None)
    file = LogFile("model=m/date=2026-01-01", 0.0)
    with pytest.raises(pa.ArrowInvalid):
        file.append([bad], CHUNK_BYTES)
    file.append([good], CHUNK_BYTES)

    assert pq.read_table(pa.BufferReader(file.parquet())).num_rows == 1


def test_files_have_one_schema_without_the_partition_keys(log: Path) -> None:
    found = [pq.read_schema(path).remove_metadata() for path in files_of(log)]
    assert len(found) == 3
    assert all(each == schema() for each in found)
    assert not {"model", "date"} & set(schema().names)


def test_files_are_one_dataset_for_arrow(log: Path) -> None:
    table = ds.dataset(log, format="parquet", partitioning="hive").to_table()
    assert table.num_rows == 3
    assert table.schema.field("features").type == schema().field("features").type
    assert set(table["date"].to_pylist()) == {"2026-01-01", "2026-01-02"}


def test_files_are_one_table_for_duckdb(log: Path) -> None:
    rows = duckdb.sql(
        f"""SELECT model, date::VARCHAR, version, f.name, coalesce(f.floats, f.ints)
            FROM (SELECT *, unnest(features) AS f FROM read_parquet('{log}/**/*.parquet', hive_partitioning = true))
            WHERE coalesce(f.floats, f.ints) IS NOT NULL ORDER BY ALL"""
    ).fetchall()
    assert rows == [
        ("digits", "2026-01-01", 3, "pixels", [1, 2, 3, 4]),
        ("taxi", "2026-01-01", 1, "fare", [2.5]),
        ("taxi", "2026-01-02", 2, "fare", [2]),
        ("taxi", "2026-01-02", 2, "tip", [1.5]),
    ]


def test_decision_query_for_duckdb_answers(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = DECISION.read_text(encoding="utf-8").partition("Read it with DuckDB:\n")[2].partition("or BigQuery")[0]
    monkeypatch.chdir(log.parent)
    rows = duckdb.sql(lines).order("time").fetchall()
    assert [row[1:] for row in rows] == [(2.5, 0.5), (None, 0.75)]


def test_files_half_written_are_not_seen_by_readers(log: Path) -> None:
    """What storage.open_write leaves beside the file when its process is killed."""
    whole = files_of(log)[0]
    (whole.parent / f".{whole.name}.k3j2h1").write_bytes(whole.read_bytes()[:100])
    assert ds.dataset(log, format="parquet", partitioning="hive").count_rows() == 3
    assert duckdb.sql(f"SELECT * FROM read_parquet('{log}/**/*.parquet')").to_arrow_table().num_rows == 3


def test_features_become_a_table_again(log: Path) -> None:
    """What a drift monitor does: one column for each feature of a schema, of its type."""
    rows = duckdb.sql(
        f"""SELECT version, list_filter(features, lambda f: f.name = 'fare')[1] AS fare
            FROM read_parquet('{log}/**/*.parquet', hive_partitioning = true) WHERE model = 'taxi' ORDER BY version"""
    )
    table = rows.select("version, coalesce(fare.floats, fare.ints)[1]::FLOAT AS fare").to_arrow_table()
    assert table.schema.field("fare").type == pa.float32()
    assert table.to_pylist() == [{"version": 1, "fare": 2.5}, {"version": 2, "fare": 2.0}]
