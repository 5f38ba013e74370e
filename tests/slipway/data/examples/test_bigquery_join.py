"""The join in BigQuery's SQL, as sqlglot's grammar of BigQuery reads it and translates it to DuckDB, which runs it."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot

from slipway.data.examples import bigquery
from slipway.data.examples.bigquery import locate_in_bigquery
from slipway.data.examples.bigquery_join import fits, view_query, with_joins
from slipway.data.examples.source import Join, JoinedSource, Source, locate
from slipway.errors import DataError
from slipway.module_api import Ingestion
from tests.slipway.data.examples.ingesting import ingest
from tests.slipway.data.examples.joining import as_of

JOIN = Join(
    view="driver/daily", sql="SELECT driver, known, trips FROM data", keys={"driver": "who"}, time="known",
    columns={"trips": "trips_1d"}, max_age=5, ingestion=Ingestion(), data="bq://p.d.facts", row_time="at",
)  # fmt: skip


def _source(join: Join = JOIN) -> Source:
    view = Source(uri="view", format="bigquery", digest="v", query=view_query(join))
    its = [JoinedSource(join=join.model_copy(update={"sql": "SELECT * FROM data"}), source=view)]
    return Source(uri="bq://p.d.rows", format="bigquery", digest="r", table="p.d.rows", features=its)


def _run(rows: pa.Table, facts: pa.Table, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; ATTACH ':memory:' AS p; CREATE SCHEMA p.d")
        for name, table in (("rows", rows), ("facts", facts)):
            connection.register("given", table)
            connection.execute(f"CREATE TABLE p.d.{name} AS SELECT * FROM given")
        (translated,) = sqlglot.transpile(sql, read="bigquery", write="duckdb")
        return list(connection.execute(f"SELECT id, trips_1d FROM ({translated}) ORDER BY id").fetchall())


def _moments(seconds: list[int | None]) -> pa.Array:
    return pa.array(seconds, pa.timestamp("s", tz="UTC"))


@pytest.mark.parametrize("seed", range(5))
def test_with_joins_gives_what_a_plain_loop_gives(seed: int) -> None:
    dice = random.Random(seed)
    keys, times = [None, 0, 1, 2], [None, *range(12)]
    rows = [(dice.choice(keys), dice.choice(times)) for _ in range(200)]
    facts = {(dice.choice(keys), dice.choice(times)): dice.choice([None, 1, 2, 3]) for _ in range(20)}
    facts = {key: value for key, value in facts.items() if None not in key}
    found = _run(
        pa.table({"id": range(200), "who": [key for key, _ in rows], "at": _moments([time for _, time in rows])}),
        pa.table({
            "driver": [key for key, _ in facts], "known": _moments([time for _, time in facts]),
            "trips": list(facts.values()),
        }),
        str(with_joins(_source()).query),
    )  # fmt: skip
    assert found == [(number, as_of(facts, *row, 5)) for number, row in enumerate(rows)]


def test_with_joins_two_rows_of_a_key_and_time_end_the_query() -> None:
    rows = pa.table({"id": [0], "who": [1], "at": _moments([9])})
    facts = pa.table({"driver": [1, 1], "known": _moments([5, 5]), "trips": [1, 2]})
    with pytest.raises(duckdb.Error, match=r"features/driver/daily\.sql: several rows have the same driver, known"):
        _run(rows, facts, str(with_joins(_source()).query))


def test_with_joins_names_cannot_leave_their_quotes() -> None:
    name = "x` FROM secrets; --"
    sql = str(with_joins(_source(JOIN.model_copy(update={"columns": {name: name}}))).query)
    parsed = sqlglot.parse_one(sql, read="bigquery")
    assert {table.name for table in parsed.find_all(sqlglot.exp.Table)} <= {"rows", "facts", "data"}


@pytest.mark.parametrize("data", ["bq://facts", "bq://p.d.t` UNION ALL SELECT * FROM `p.d.secrets"])
def test_view_query_name_that_is_no_table_is_refused(data: str) -> None:
    with pytest.raises(DataError, match=r"write bq://project\.dataset\.table"):
        view_query(JOIN.model_copy(update={"data": data}))


def test_fits_only_where_all_are_tables_of_bigquery() -> None:
    assert fits(_source())
    assert not fits(_source(JOIN.model_copy(update={"row_time_format": "%Y"})))
    assert not fits(_source().model_copy(update={"format": "csv"}))


def test_features_of_bigquery_join_rows_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What BigQuery answers to the view's query is joined here."""
    at = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    facts = pa.table({"driver": ["a"], "known": pa.array([at], pa.timestamp("us", tz="UTC")), "trips": [3]})
    monkeypatch.setattr(bigquery, "read_batches", lambda _: facts.to_reader())
    (tmp_path / "rows.csv").write_text("id,y,who,at\n0,0,a,2024-01-01T00:00:01Z\n1,1,a,2024-01-01T00:00:09Z\n")
    source = locate(str(tmp_path / "rows.csv"), 1).model_copy(update={"features": _source().features})
    assert ingest(source, tmp_path / "examples").column("trips_1d") == [3, None]


def test_rows_and_features_of_bigquery_are_joined_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Source] = []
    answer = pa.table({"id": range(50), "y": [0, 1] * 25, "who": ["a"] * 50, "trips_1d": [1] * 50})

    def read(source: Source) -> pa.RecordBatchReader:
        asked.append(source)
        return answer.to_reader()

    monkeypatch.setattr(bigquery, "read_batches", read)
    assert ingest(_source(), tmp_path / "examples").column("trips_1d") == [1] * 50
    assert [(one.table, one.query) for one in asked] == [(None, with_joins(_source()).query)]


def test_locate_in_bigquery_view_of_two_statements_is_refused() -> None:
    join = JOIN.model_copy(update={"sql": "SELECT 1); DROP TABLE p.d.facts; SELECT (1"})

    class Client:
        def query(self, sql: str, job_config: Any) -> Any:
            return SimpleNamespace(referenced_tables=[], statement_type="SCRIPT" if ";" in sql else "SELECT")

    with pytest.raises(DataError, match="SCRIPT"):
        locate_in_bigquery("data in features/driver/daily.sql", Client(), query=view_query(join))
