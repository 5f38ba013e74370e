"""A table of BigQuery: which load job it gets, and how a job knows its own table. The network is where tests stop."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import Forbidden, NotFound

from serving.batch import table as bigquery_table
from serving.batch.finish import read_manifest
from slipway.errors import ConfigError, StoreError
from tests.batch_jobs import Batch, table, write_csv
from tests.fakes.storage_server import StorageServer

TO = "bq://p.d.scores"


class Client:
    """What of `google.cloud.bigquery.Client` is used; the rows of local files are counted as BigQuery would."""

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self.loads: list[tuple[Any, Any]] = []
        self.refuses = ""
        self.dies = False

    def get_table(self, name: str) -> Any:
        if name not in self.tables:
            raise NotFound(f"no table {name}")  # type: ignore[no-untyped-call]
        return self.tables[name]

    def load_table_from_file(self, file: Any, name: str, job_config: Any) -> Any:
        return self._load(pq.read_table(file), name, job_config)

    def load_table_from_uri(self, uris: list[str], name: str, job_config: Any) -> Any:
        return self._load(uris, name, job_config)

    def _load(self, what: Any, name: str, config: Any) -> Any:
        if self.refuses:
            raise Forbidden(self.refuses)  # type: ignore[no-untyped-call]
        self.loads.append((what, config.to_api_repr()["load"]))
        rows = len(what)
        self.tables[name] = SimpleNamespace(description=config.destination_table_description, num_rows=rows)
        if self.dies:
            raise KeyboardInterrupt
        return SimpleNamespace(result=lambda: None)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client()
    monkeypatch.setattr(bigquery_table, "_connect", lambda: made)
    return made


def test_all_rows_are_loaded_by_one_job_that_names_itself(batch: Batch, client: Client, tmp_path: Path) -> None:
    own = Batch(batch.home)
    data = write_csv(table(40), tmp_path / "rows.csv")
    manifest = own.run(data, TO)
    [(rows, config)] = client.loads
    assert rows.num_rows == manifest.predicted == 40
    assert rows.column_names == ["id", "size", "rooms", "town", "class", "score_no", "score_yes", "model_version"]
    assert (config["sourceFormat"], config["writeDisposition"]) == ("PARQUET", "WRITE_EMPTY")
    assert config["parquetOptions"] == {"enableListInference": True}
    assert manifest.digest in config["destinationTableProperties"]["description"]
    assert json.loads(Path(manifest.job.manifest).read_text())["predicted"] == 40

    assert own.run(data, TO) == manifest  # again: nothing is loaded
    assert len(client.loads) == 1
    with pytest.raises(StoreError, match=r"p\.d\.scores has 40 rows that another job wrote"):
        own.run(data, TO, columns="keys")
    client.tables.clear()  # somebody deleted it
    with pytest.raises(StoreError, match=r"predictions that are gone from bq://p\.d\.scores"):
        own.run(data, TO)


def test_a_job_killed_right_after_the_load_knows_its_table(batch: Batch, client: Client, tmp_path: Path) -> None:
    data = write_csv(table(38), tmp_path / "rows.csv")
    client.dies = True
    with pytest.raises(KeyboardInterrupt):
        batch.run(data, TO)
    client.dies = False
    assert batch.run(data, TO).predicted == 38
    assert len(client.loads) == 1


def test_parts_of_a_bucket_are_loaded_from_there(
    batch: Batch, client: Client, tmp_path: Path, storage_server: StorageServer
) -> None:
    home = Batch(batch.home)
    data = write_csv(table(39), tmp_path / "rows.csv")
    job = home.resolve(data, TO).model_copy(update={"home": storage_server.uri("batch")})
    from serving.batch.steps import end, predict, validate

    checked = validate(job)
    predict(job, checked, 0, 1)
    end(job, checked, "run-1")
    [(uris, _)] = client.loads
    assert [uri.partition("@")[2] for uri in uris] == [f"bucket/batch/{job.digest}/part-00000.parquet"]
    assert read_manifest(job).predicted == 39


def test_what_bigquery_refuses_is_told(batch: Batch, client: Client, tmp_path: Path) -> None:
    data = write_csv(table(41), tmp_path / "rows.csv")
    with pytest.raises(ConfigError, match=r"write bq://project\.dataset\.table"):
        batch.resolve(data, "bq://scores")
    client.refuses = "no permission on d"
    with pytest.raises(StoreError, match="refuses to load the predictions: 403 no permission on d"):
        batch.run(data, TO)
    client.refuses = ""
    assert batch.run(data, TO).predicted == 41
