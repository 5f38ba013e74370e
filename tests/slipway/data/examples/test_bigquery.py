"""BigQuery as a source: what SQL it gets, and when its digest changes. The network is where these tests stop."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import BadRequest
from google.auth.credentials import AnonymousCredentials

from slipway.data.examples.bigquery import is_bigquery, locate_in_bigquery, read_batches
from slipway.data.examples.source import Source
from slipway.errors import DataError
from tests.fakes.loopback_server import Answer, LoopbackServer, Refused, Request


class Client:
    """What of `google.cloud.bigquery.Client` is used; a table's version is what the test says."""

    def __init__(self, **versions: tuple[int, int]) -> None:
        self.versions, self.kind = versions, "TABLE"
        self.queries: list[str] = []

    def get_table(self, name: str) -> Any:
        day, rows = self.versions[name.rpartition(".")[2]]
        modified = dt.datetime(2026, 1, day, tzinfo=dt.UTC)
        return SimpleNamespace(modified=modified, num_rows=rows, table_type=self.kind)

    def query(self, sql: str, job_config: Any) -> Any:
        assert job_config.dry_run
        self.queries.append(sql)
        tables = [SimpleNamespace(project="p", dataset_id="d", table_id=name) for name in self.versions]
        return SimpleNamespace(referenced_tables=tables, statement_type="SELECT" if ";" not in sql else "SCRIPT")


def test_locate_in_bigquery_table_digest_follows_its_version() -> None:
    def digest(**versions: tuple[int, int]) -> str:
        return locate_in_bigquery("bq://p.d.trips", Client(**versions)).digest

    assert digest(trips=(1, 10)) == digest(trips=(1, 10))
    assert len({digest(trips=(1, 10)), digest(trips=(2, 10)), digest(trips=(1, 11))}) == 3


def test_locate_in_bigquery_query_digest_follows_its_text_and_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "trips.sql"

    def digest(text: str, **versions: tuple[int, int]) -> str:
        path.write_text(text)
        source = locate_in_bigquery(str(path), Client(**versions))
        assert (source.format, source.table, source.files) == ("bigquery", None, [])
        assert source.query == text.rstrip(";\n")
        return source.digest

    first = digest("SELECT 1;\n", a=(1, 1), b=(1, 1))
    assert digest("SELECT 1", a=(1, 1), b=(1, 1)) == first
    assert digest("SELECT 2", a=(1, 1), b=(1, 1)) != first
    assert digest("SELECT 1", a=(1, 1), b=(1, 2)) != first


@pytest.mark.parametrize("uri", ["bq://trips", "bq://dataset.trips", "bq://p.d.t.x"])
def test_locate_in_bigquery_short_name_is_refused(uri: str) -> None:
    with pytest.raises(DataError, match=r"write bq://project\.dataset\.table"):
        locate_in_bigquery(uri, Client())


def test_locate_in_bigquery_bigquery_error_is_passed_on() -> None:
    from google.api_core.exceptions import NotFound

    class Missing(Client):
        def get_table(self, name: str) -> Any:
            raise NotFound(f"no table {name}")  # type: ignore[no-untyped-call]

    with pytest.raises(DataError, match=r"bq://p\.d\.t: BigQuery refuses: 404 no table p\.d\.t"):
        locate_in_bigquery("bq://p.d.t", Missing())


def test_is_bigquery_knows_tables_and_queries() -> None:
    assert is_bigquery("bq://p.d.t")
    assert is_bigquery("gs://bucket/trips.sql")
    assert not is_bigquery("data/trips.csv")


class BigQuery(LoopbackServer):
    """Knows one table, refuses every query."""

    def handle(self, request: Request) -> Answer:
        if request.method == "GET":
            table = {"projectId": "p", "datasetId": "d", "tableId": "t"}
            schema = {"fields": [{"name": "at", "type": "DATETIME"}]}
            return Answer(200, json.dumps({"tableReference": table, "schema": schema, "type": "TABLE"}).encode())
        raise Refused(400, "enough")

    def refuse(self, status: int, message: str) -> Answer:
        return Answer(status, json.dumps({"error": {"message": message}}).encode())


@pytest.mark.parametrize("what", [{"table": "p.d.t"}, {"query": "SELECT CAST('2024-06-01' AS TIMESTAMP) AS at"}])
def test_read_batches_asks_in_utc(monkeypatch: pytest.MonkeyPatch, what: dict[str, str]) -> None:
    """What Google's client and Ibis send of `time_zone`, the default time zone of a query.

    https://cloud.google.com/bigquery/docs/reference/rest/v2/ConnectionProperty
    """
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    monkeypatch.setattr("pydata_google_auth.default", lambda *_, **__: (credentials, "p"))
    with BigQuery() as server:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        with pytest.raises(BadRequest, match="enough"):
            read_batches(Source(uri="bq://p.d.t", format="bigquery", digest="x", **what))
    queries = [json.loads(one.body) for one in server.requests if one.method == "POST"]
    assert queries
    for query in queries:
        settings = query.get("configuration", {}).get("query", query)
        assert settings["connectionProperties"] == [{"key": "time_zone", "value": "UTC"}]


def _asked(source: Source, client: Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """The SQL that reads a source, as it reaches BigQuery."""
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    monkeypatch.setattr("pydata_google_auth.default", lambda *_, **__: (credentials, "p"))
    with BigQuery() as server:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        with pytest.raises(BadRequest, match="enough"):
            read_batches(source, client)
    [query] = [json.loads(one.body) for one in server.requests if one.method == "POST"]
    settings = query.get("configuration", {}).get("query", query)
    return " ".join(str(settings["query"]).split())


def _at(sql: str) -> dt.datetime:
    """The moment of FOR SYSTEM_TIME AS OF in it."""
    [moment] = re.findall(r"FOR SYSTEM_TIME AS OF (?:TIMESTAMP ?|CAST\()'([^']+)'", sql)
    return dt.datetime.fromisoformat(moment)


class Changed(Client):
    """A table that was changed so long ago."""

    def __init__(self, ago: dt.timedelta) -> None:
        super().__init__(trips=(1, 10))
        self.modified = dt.datetime.now(dt.UTC) - ago

    def get_table(self, name: str) -> Any:
        return SimpleNamespace(modified=self.modified, num_rows=10, table_type=self.kind)


HOURS = dt.timedelta(hours=1)


@pytest.mark.parametrize("query", [False, True])
def test_rows_of_bigquery_are_those_of_the_moment_that_was_resolved(
    query: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the table changed in between, as before a run is repeated."""
    uri = "bq://p.d.trips"
    if query:
        uri = str(tmp_path / "trips.sql")
        Path(uri).write_text("SELECT fare FROM `p.d.trips` FOR SYSTEM_TIME AS OF @as_of WHERE fare > 1;")
    client = Changed(5 * HOURS)
    source = locate_in_bigquery(uri, client)
    assert source.as_of == client.modified + dt.timedelta(milliseconds=1)
    sql = _asked(source, Changed(HOURS), monkeypatch)
    assert _at(sql) == source.as_of
    assert ("fare" in sql) == query
    unchanged = _asked(source, client, monkeypatch)
    assert source.as_of <= _at(unchanged) < dt.datetime.now(dt.UTC)


def test_source_of_a_table_is_the_same_while_nothing_changes() -> None:
    client = Changed(5 * HOURS)
    assert locate_in_bigquery("bq://p.d.trips", client) == locate_in_bigquery("bq://p.d.trips", client)


def test_table_that_did_not_change_for_long_is_read_as_of_a_moment_that_bigquery_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Changed(24 * 30 * HOURS)
    source = locate_in_bigquery("bq://p.d.trips", client)
    assert dt.datetime.now(dt.UTC) - _at(_asked(source, client, monkeypatch)) < HOURS


def test_rows_that_are_older_than_the_history_are_refused_with_the_way_out() -> None:
    source = locate_in_bigquery("bq://p.d.trips", Changed(24 * 8 * HOURS))
    with pytest.raises(DataError, match=r"are gone.*7 days.*slipway data snapshot URI"):
        read_batches(source, Changed(HOURS))


@pytest.mark.parametrize("kind", ["VIEW", "EXTERNAL", "MATERIALIZED_VIEW"])
def test_what_has_no_history_is_read_as_it_is(kind: str) -> None:
    client = Client(trips=(1, 10))
    client.kind = kind
    assert locate_in_bigquery("bq://p.d.trips", client).as_of is None


def test_query_without_a_moment_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "trips.sql"
    path.write_text("SELECT 1 FROM `p.d.trips`")
    client = Client(trips=(1, 10))
    assert locate_in_bigquery(str(path), client).as_of is None
    assert client.queries == ["SELECT 1 FROM `p.d.trips`"]


def test_ingest_rows_of_bigquery_become_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow batches such as BigQuery's answer stand in for it."""
    from slipway.data.examples import bigquery
    from slipway.data.examples.ingest import IngestConfig, ingest_source

    moment = dt.datetime(2026, 1, 1, 0, 0, 1, 500_000)
    table = pa.table({
        "id": range(500), "y": [number % 2 == 0 for number in range(500)], "fare": [0.25] * 500,
        "day": [moment.date()] * 500, "local": [moment] * 500,
        "start": pa.array([moment] * 500, pa.timestamp("us", tz="UTC")), "tags": [["a"]] * 500,
    })  # fmt: skip
    monkeypatch.setattr(bigquery, "read_batches", lambda _: table.to_reader(max_chunksize=64))
    source = Source(uri="bq://p.d.t", format="bigquery", digest="x", table="p.d.t")
    config = IngestConfig.model_validate(
        {"task": "binary", "label": {"column": "y"}, "split": {"method": "hash"}, "ingestion": {}}
    )
    manifest = ingest_source(source, config, None, tmp_path)
    times = dict.fromkeys(("day", "local", "start"), "int64")
    assert manifest.columns == {"id": "int64", "fare": "double", **times, "tags": "list<l: string>", "y": "int64"}
    assert manifest.rows.train + manifest.rows.eval == manifest.rows.read == 500
