"""A log in BigQuery: DuckDB carries out what Ibis asks; arrays are empty instead of null, as they are there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pytest
from google.api_core.exceptions import NotFound

from slipway.errors import ConfigError, StoreError
from slipway.monitoring import bigquery_log
from slipway.monitoring.bigquery_log import check_table, requests_of
from slipway.monitoring.log_reader import LogReader
from slipway.monitoring.requests import answered_rows, count_requests
from slipway.monitoring.window import Window
from tests.request_windows import write_requests

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # Ibis calls it of DuckDB
LOG = "bq://p.d.requests"
START = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=1))
ROWS = [{"fare": 1.5 * number, "company": f"c{number % 3}"} for number in range(50)]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, over which the table stands."""
    folder = tmp_path / "log"

    def open_table(name: str) -> Any:
        assert name == "p.d.requests"
        backend = ibis.duckdb.connect()
        table = backend.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True, union_by_name=True)
        empty = {name: ibis.coalesce(table[name], ibis.literal([], table[name].type()))
                 for name in ("features", "classes", "scores")}  # fmt: skip
        return table.mutate(**empty)

    def in_batches(backend: Any, query: Any, *, chunk_size: int, **_: Any) -> Any:
        """Ibis's own calls what DuckDB 2 does not have."""
        return backend.to_pyarrow(query).to_reader(max_chunksize=chunk_size)

    monkeypatch.setattr("ibis.backends.duckdb.Backend.to_pyarrow_batches", in_batches)
    monkeypatch.setattr(bigquery_log, "open_table", open_table)
    return folder


def counted(log_uri: str) -> Any:
    found, damaged = count_requests(LogReader(log_uri, "trips"), WINDOW, {7: {}})
    assert damaged == 0
    return {version: (its.rows, its.traffic) for version, its in found.items()}


def test_a_table_has_the_requests_of_its_folder(log: Path) -> None:
    scores = [0.5] * len(ROWS)
    for model, day in (("trips", 0), ("trips", -1), ("trips", 1), ("other", 0)):
        write_requests(str(log), model, 7, START + day * timedelta(days=1), ROWS, scores, prefix=f"{model}{day}-")
    write_requests(str(log), "trips", 7, START, ROWS, scores, failed=4, prefix="failed-")
    assert counted(LOG) == counted(str(log))
    assert counted(LOG)[7][0] == 100
    of_table, of_folder = (
        answered_rows(LogReader(uri, "trips"), WINDOW, ["fare", "company"])[7].rows.sort_by("request_id")
        for uri in (LOG, str(log))
    )
    names = [name for name in of_folder.column_names if name != "classes"]  # empty there, null here: neither names any
    assert of_table.select(names).to_pylist() == of_folder.select(names).to_pylist()


def test_a_window_without_requests_has_none(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_requests(str(log), "other", 7, START, ROWS, [0.5] * len(ROWS))
    assert counted(LOG) == {}
    schema = bigquery_log._SCHEMA
    none = pa.RecordBatch.from_pylist([], schema=schema)
    monkeypatch.setattr(
        "ibis.backends.duckdb.Backend.to_pyarrow_batches",
        lambda *_, **__: pa.RecordBatchReader.from_batches(schema, [none]),
    )
    assert counted(LOG) == {}, "an answer of one batch without rows"


def test_the_query_reads_the_days_of_the_window_alone() -> None:
    table = ibis.table({"model": "string", "date": "date", **dict.fromkeys(bigquery_log._SCHEMA.names, "string"),
                        "time": "timestamp('UTC')"}, name="requests")  # fmt: skip
    query = ibis.to_sql(requests_of(table, "tri'ps", WINDOW, ("version", "scores")), dialect="bigquery")
    assert query.count("DATE(2026, 3, 1)") == 2
    assert "features" not in query, "BigQuery bills the columns that are read"
    assert r"'tri\'ps'" in query or "'tri''ps'" in query


def test_what_bigquery_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        raise NotFound(f"no table {name}")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(bigquery_log, "open_table", refuse)
    with pytest.raises(StoreError, match=r"bq://p\.d\.requests: BigQuery refuses: 404 no table p\.d\.requests"):
        count_requests(LogReader(LOG, "trips"), WINDOW, {})
    with pytest.raises(ConfigError, match=r"write bq://project\.dataset\.table"):
        check_table("bq://requests")
