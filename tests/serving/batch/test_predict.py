"""What a job writes: the answers that a server gives, whatever the data are written as."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.batch import units
from serving.client import connect
from serving.client.rows import predict_rows
from serving.server.config import ServerConfig
from serving.server.model_sources import OneVersion
from serving.server.server import ModelServer
from slipway.data.examples import bigquery
from slipway.data.examples.joins import joins_of
from slipway.data.examples.source import Source
from slipway.data.snapshots import resolve as resolving
from slipway.data.snapshots.take import take_snapshot
from slipway.data.tensors import serialize_examples
from slipway.errors import ConfigError, DataError, ModelQuarantinedError, StoreError
from slipway.module_api import ModuleConfig
from slipway.stores import storage
from tests.batch_jobs import MODEL, NAMES, Batch, quarantined, read, table, write_csv
from tests.fakes.storage_server import StorageServer
from tests.served_models import read_inputs
from tests.slipway.data.examples.joining import write_view

ROWS = 700


@pytest.fixture(scope="module")
def served(tiny_model: Path) -> list[dict[str, Any]]:
    """The answers of a real server to the same rows."""
    with (
        ModelServer(OneVersion(MODEL, tiny_model), ServerConfig(grpc_port=0, rest_port=0)) as server,
        connect(f"localhost:{server.grpc_port}", MODEL, protocol="grpc", version=None, timeout_seconds=20) as client,
    ):
        return list(predict_rows(client, table(ROWS), read_inputs(), "classify", 100))


def write(kind: str, folder: Path) -> Path:
    rows = table(ROWS)
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(rows, path, row_group_size=100)
    elif kind == "csv":
        write_csv(rows, path)
    elif kind == "avro":
        types = {"id": "string", "size": "double", "rooms": "long", "town": "string"}
        schema = {"type": "record", "name": "r", "fields": [{"name": n, "type": ["null", t]} for n, t in types.items()]}
        with path.open("wb") as file:
            fastavro.writer(file, schema, rows.to_pylist())
    else:
        import tensorflow as tf

        with tf.io.TFRecordWriter(str(path)) as records:
            for one in serialize_examples(rows, read_inputs()):
                records.write(one)
    return path


@pytest.mark.parametrize(
    "kind",
    ["parquet", "csv", pytest.param("avro", marks=pytest.mark.slow), pytest.param("tfrecord", marks=pytest.mark.slow)],
)
def test_answers_are_those_of_a_server(
    batch: Batch, served: list[dict[str, Any]], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "UNIT_ROWS", 250)
    manifest = batch.run(write(kind, tmp_path), tmp_path / "out")

    answers = read(tmp_path / "out")
    assert manifest.predicted == manifest.rows == answers.num_rows == ROWS
    for name in ("yes", "no"):
        expected = [one["scores"][name] for one in served]
        np.testing.assert_allclose(answers[f"score_{name}"], expected, atol=1e-6)
    assert answers["class"].to_pylist() == [one["class"] for one in served]
    assert set(answers["model_version"].to_pylist()) == {manifest.job.version}
    if kind != "tfrecord":  # it has the features alone
        assert answers["id"].to_pylist() == table(ROWS)["id"].to_pylist()
    if kind == "parquet":
        assert answers.select(NAMES).equals(table(ROWS))
        assert len(manifest.parts) == 4  # of 200 rows, two row groups each, and the last 100


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_shared_features_are_joined_to_the_rows(
    batch: Batch, served: list[dict[str, Any]], tmp_path: Path, kind: str
) -> None:
    whole = table(ROWS)
    at = pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * ROWS)
    known = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)]  # what comes later is not seen
    facts = [whole.select(["id", "rooms"]).append_column("known", pa.array([one] * ROWS)) for one in known]
    facts[1] = facts[1].set_column(1, "rooms", pa.array([9] * ROWS))
    pq.write_table(pa.concat_tables(facts), tmp_path / "facts.parquet")
    write_view(tmp_path, "SELECT id, known, rooms FROM data", name="home/rooms", keys="[id]")
    config = ModuleConfig.model_validate({
        "contract": 1, "task": "binary", "label": {"column": "label"}, "ingestion": {"event_time": "at"},
        "features": [{"view": "home/rooms", "columns": ["rooms"]}],
    })  # fmt: skip
    rows = whole.drop_columns(["rooms"]).append_column("at", at)
    data = tmp_path / f"rows.{kind}"
    if kind == "csv":
        write_csv(rows, data)
    else:
        pq.write_table(rows, data, row_group_size=100)

    manifest = replace(batch, joins=joins_of(config, tmp_path)).run(data, tmp_path / "out")

    answers = read(tmp_path / "out")
    assert manifest.predicted == ROWS
    assert answers["rooms"].to_pylist() == whole["rooms"].to_pylist()
    np.testing.assert_allclose(answers["score_yes"], [one["scores"]["yes"] for one in served], atol=1e-6)


@pytest.mark.parametrize(
    "kind",
    ["parquet", "csv", pytest.param("avro", marks=pytest.mark.slow), pytest.param("tfrecord", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("remote", [False, True])
def test_a_snapshot_is_predicted(
    batch: Batch, served: list[dict[str, Any]], storage_server: StorageServer, tmp_path: Path, kind: str, remote: bool
) -> None:
    root = storage_server.uri("data") if remote else str(tmp_path / "data")
    take_snapshot(str(write(kind, tmp_path)), "homes", root)
    replace(batch, snapshots=root).run("snapshot:homes", tmp_path / "out")
    np.testing.assert_allclose(read(tmp_path / "out")["score_yes"], [one["scores"]["yes"] for one in served], atol=1e-6)


def test_rows_of_bigquery_are_predicted(
    batch: Batch, served: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What BigQuery answers, in types that are not those of examples."""
    rows = table(ROWS).cast(pa.schema([("id", pa.string()), ("size", pa.float32()), ("rooms", pa.int32()),
                                       ("town", pa.string())]))  # fmt: skip
    rows = rows.append_column("at", pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * ROWS, pa.timestamp("us", tz="UTC")))
    asked: list[Source] = []
    source = Source(uri="bq://p.d.homes", format="bigquery", digest="d", table="p.d.homes", as_of=datetime.now(UTC))

    def read_batches(source: Source) -> pa.RecordBatchReader:
        asked.append(source)
        return rows.to_reader()

    monkeypatch.setattr(resolving, "locate_in_bigquery", lambda _: source)
    monkeypatch.setattr(bigquery, "read_batches", read_batches)
    manifest = batch.run("bq://p.d.homes", tmp_path / "out")
    assert (manifest.predicted, manifest.job.source_digest, asked) == (ROWS, "d", [source]), "one moment, read once"
    answers = read(tmp_path / "out")
    assert answers["rooms"].equals(rows["rooms"]), "kept as it is"
    np.testing.assert_allclose(answers["score_yes"], [one["scores"]["yes"] for one in served], atol=1e-6)


def test_a_part_and_the_manifest_name_version_and_digests(batch: Batch, tmp_path: Path) -> None:
    data = write("parquet", tmp_path)
    manifest = batch.run(data, tmp_path / "out")
    version = batch.store.production(MODEL)
    assert version
    metadata = {key.decode(): value.decode() for key, value in
                pq.read_schema(tmp_path / "out" / "part-00000.parquet").metadata.items()}  # fmt: skip
    assert metadata["slipway.version"] == str(version.number)
    assert metadata["slipway.model_digest"] == version.manifest.model_digest
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert written["job"]["model_digest"] == version.manifest.model_digest
    assert written["job"]["source_digest"] == metadata["slipway.source_digest"]
    assert written["digest"] == manifest.digest == metadata["slipway.job"]
    assert [one["rows"] for one in written["parts"]] == [ROWS]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "part-00000.parquet"]


@pytest.mark.parametrize(
    ("columns", "kept"),
    [("all", NAMES), ("keys", ["id"]), ("town,id", ["id", "town"])],
)
def test_columns_that_are_kept(batch: Batch, tmp_path: Path, columns: str, kept: list[str]) -> None:
    batch.run(write("csv", tmp_path), tmp_path / "out", columns=columns)
    assert read(tmp_path / "out").column_names == [*kept, "class", "score_no", "score_yes", "model_version"]


def test_keys_are_those_of_the_monitor_where_the_data_have_them(batch: Batch, tmp_path: Path) -> None:
    batch.config = {"monitoring": {"key": ["town"]}}
    batch.run(write("csv", tmp_path), tmp_path / "out", columns="keys")
    assert read(tmp_path / "out").column_names[:2] == ["town", "class"]


def test_a_column_that_is_not_there_is_named_with_the_nearest(batch: Batch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'twon'.*did you mean town"):
        batch.run(write("csv", tmp_path), tmp_path / "out", columns="id,twon")


def test_kept_columns_are_as_the_data_have_them(batch: Batch, tmp_path: Path) -> None:
    import datetime as dt

    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=dt.UTC)
    rows = table(3)
    others = {
        "at": pa.array([moment] * 3, pa.timestamp("ms", "UTC")),
        "class": pa.array(["a", None, "b"]),
        "predicted_Class": pa.array(["b", "a", None]),  # as of an earlier prediction
        "nested": pa.array([{"x": 1}, None, {"x": 3}]),
        "price": pa.array(["1.50", "2.25", None]).cast(pa.decimal128(10, 2)),
        "tips": pa.array([[1, 2], [], None], pa.list_(pa.int32())),
    }
    whole = pa.table({**dict(zip(rows.column_names, rows.columns, strict=True)), **others})
    pq.write_table(whole, tmp_path / "rows.parquet")
    batch.run(tmp_path / "rows.parquet", tmp_path / "out")
    answers = read(tmp_path / "out")
    assert answers.select(list(others)).to_pylist() == whole.select(list(others)).to_pylist()
    assert answers.schema.field("price").type == pa.decimal128(10, 2)
    assert answers["predicted_predicted_class"].to_pylist() == ["no" if one < 0.5 else "yes" for one in
                                                                answers["score_yes"].to_pylist()]  # fmt: skip


def test_one_file(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "UNIT_ROWS", 250)
    data = write("parquet", tmp_path)
    batch.run(data, tmp_path / "folder")
    (tmp_path / "one").mkdir()
    for name in ("scores.parquet", "scores.csv"):
        batch.run(data, tmp_path / "one" / name)
    assert read(tmp_path / "one" / "scores.parquet").equals(read(tmp_path / "folder"))
    lines = (tmp_path / "one" / "scores.csv").read_text().splitlines()
    assert lines[0] == '"id","size","rooms","town","class","score_no","score_yes","model_version"'
    assert len(lines) == ROWS + 1
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "scores.csv", "scores.csv.manifest.json", "scores.parquet", "scores.parquet.manifest.json",
    ]  # fmt: skip


def test_the_manifest_names_columns_as_they_are(batch: Batch, tmp_path: Path) -> None:
    rows = table(3).append_column('a, or "b"', pa.array(["x"] * 3))
    pq.write_table(rows, tmp_path / "rows.parquet")
    manifest = batch.run(tmp_path / "rows.parquet", tmp_path / "out", format="csv")
    assert list(manifest.columns)[:6] == [*NAMES, 'a, or "b"', "class"]


def test_csv_cannot_hold_lists(batch: Batch, tmp_path: Path) -> None:
    rows = table(3).append_column("tags", pa.array([["a"], [], None]))
    pq.write_table(rows, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"CSV cannot hold tags.*--columns"):
        batch.run(tmp_path / "rows.parquet", tmp_path / "out", format="csv")


def test_files_whose_columns_differ_are_one_table(batch: Batch, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for day, rows in (("2026-01-01", table(20).drop_columns(["rooms"])), ("2026-01-02", table(30))):
        folder = data / f"day={day}"
        folder.mkdir(parents=True)
        pq.write_table(rows, folder / "part.parquet")
    manifest = batch.run(data, tmp_path / "out", shards=2)
    answers = read(tmp_path / "out")
    assert manifest.predicted == answers.num_rows == 50
    assert answers["rooms"].to_pylist() == [None] * 20 + table(30)["rooms"].to_pylist()
    assert answers["day"].to_pylist() == ["2026-01-01"] * 20 + ["2026-01-02"] * 30


def test_a_value_that_does_not_fit_the_type_of_other_files_is_told(batch: Batch, tmp_path: Path) -> None:
    for name, number in (("a", 2**60 + 1), ("b", 0.5)):
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table(20).append_column("code", [[number] * 20]), tmp_path / "data" / f"{name}.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: column 'code' is int64, in other files it is double"):
        batch.run(tmp_path / "data", tmp_path / "out")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_no_rows(batch: Batch, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        write_csv(table(0), path)
    else:
        pq.write_table(table(0), path)
    manifest = batch.run(path, tmp_path / "out")
    assert manifest.predicted == manifest.rows == 0
    assert read(tmp_path / "out").column_names == [*NAMES, "class", "score_no", "score_yes", "model_version"]
    assert any("no rows" in one for one in manifest.warnings)


def test_an_empty_file_and_none_are_refused(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    with pytest.raises(DataError, match=r"rows\.csv"):
        batch.run(tmp_path / "rows.csv", tmp_path / "out")
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"rows\.parquet: not a whole Parquet file"):
        batch.run(tmp_path / "rows.parquet", tmp_path / "other")
    with pytest.raises(DataError, match=r"no such file.*correct --batch"):
        batch.run(tmp_path / "nothing.csv", tmp_path / "third")


def test_columns_that_need_no_conversion_give_the_same_answers(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table(400)
    sizes = [float("nan") if number % 9 == 0 else one for number, one in enumerate(rows["size"].to_pylist())]
    towns = ["" if number % 7 == 0 else one for number, one in enumerate(rows["town"].to_pylist())]
    towns[11] = "Rome"
    whole = rows.set_column(1, "size", [sizes]).set_column(3, "town", [towns])
    pq.write_table(whole, tmp_path / "rows.parquet", row_group_size=100)
    batch.run(tmp_path / "rows.parquet", tmp_path / "plain")
    monkeypatch.setattr(units.UnitReader, "_needs_no_conversion", lambda *_: False)
    batch.run(tmp_path / "rows.parquet", tmp_path / "converted")
    answers = ["id", "class", "score_no", "score_yes"]
    assert read(tmp_path / "plain").select(answers).equals(read(tmp_path / "converted").select(answers))
    assert read(tmp_path / "plain").num_rows == 399
    assert quarantined(tmp_path / "plain") == quarantined(tmp_path / "converted") != []


def test_a_column_of_a_wrong_type_is_named(batch: Batch, tmp_path: Path) -> None:
    rows = table(3)
    pq.write_table(rows.set_column(1, "size", [pa.array([b"a", b"b", b"c"])]), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="'size' holds binary, and the model takes float32"):
        batch.run(tmp_path / "rows.parquet", tmp_path / "out")


def test_versions(batch: Batch, tiny_model: Path, tmp_path: Path) -> None:
    data = write_csv(table(5), tmp_path / "rows.csv")
    stable = batch.store.production(MODEL)
    assert stable
    with pytest.raises(StoreError, match=f"no version 77 .*its versions are {stable.number}"):
        batch.resolve(data, tmp_path / "out", version=77)
    with pytest.raises(StoreError, match="no canary version"):
        batch.resolve(data, tmp_path / "out", stage="canary")
    assert batch.resolve(data, tmp_path / "out", version=stable.number).version == stable.number
    own = Batch(str(tmp_path / "home"))
    from tests.batch_jobs import push
    from tests.served_models import TinyModel, write_saved_model

    (tmp_path / "home").mkdir()
    push(own.store, tiny_model, tmp_path / "home")
    first = own.store.production(MODEL)
    model = TinyModel()
    model.weights.assign([0.1, 0.1, 0.1])
    push(own.store, write_saved_model(tmp_path / "second", model), tmp_path / "home")
    newest = own.store.production(MODEL)
    assert first
    assert newest
    assert first.number != newest.number
    assert own.resolve(data, tmp_path / "retired", version=first.number).version == first.number
    own.store.rollback(MODEL)
    with pytest.raises(ModelQuarantinedError, match=f"version {newest.number} of tiny is quarantined"):
        own.resolve(data, tmp_path / "bad", version=newest.number)


def test_a_destination_belongs_to_one_job(batch: Batch, tmp_path: Path) -> None:
    data, out = write_csv(table(5), tmp_path / "rows.csv"), tmp_path / "out"
    first = batch.run(data, out)
    before = (out / "manifest.json").read_bytes()
    assert batch.run(data, out) == first
    assert (out / "manifest.json").read_bytes() == before
    write_csv(table(6), data)
    with pytest.raises(StoreError, match="predictions of another job: its content of the data is"):
        batch.run(data, out)
    with pytest.raises(StoreError, match=r"predictions of another job.*its columns is all, not keys"):
        batch.run(data, out, columns="keys")
    batch.resolve(data, tmp_path / "begun")
    with pytest.raises(StoreError, match="was begun by another job: its columns"):
        batch.resolve(data, tmp_path / "begun", columns="keys")
    (tmp_path / "probed").mkdir()
    (tmp_path / "probed" / ".slipway-probe").touch()  # of a start on S3 that was killed
    batch.resolve(data, tmp_path / "probed")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(StoreError, match=r"is not empty \(mine\.txt\)"):
        batch.resolve(data, tmp_path / "full")
    (tmp_path / "mine.csv").touch()
    with pytest.raises(StoreError, match="no job wrote it"):
        batch.resolve(data, tmp_path / "mine.csv")


def test_of_two_runs_that_begin_at_once_one_has_the_destination(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, begun = write_csv(table(5), tmp_path / "rows.csv"), tmp_path / "out" / "_job" / "job.json"
    write_new = storage.write_new

    def late(uri: str, content: bytes) -> bool:
        write_new(uri, content.replace(b'"columns": "keys"', b'"columns": "all"'))  # the other run was faster
        return write_new(uri, content)

    monkeypatch.setattr(storage, "write_new", late)
    with pytest.raises(StoreError, match="was begun by another run just now"):
        batch.resolve(data, tmp_path / "out", columns="keys")
    assert json.loads(begun.read_text())["columns"] == "all"


@pytest.mark.parametrize(("to", "gone"), [("out", "part-00000.parquet"), ("out.csv", "")])
def test_predictions_that_are_gone_are_told(batch: Batch, tmp_path: Path, to: str, gone: str) -> None:
    data = write_csv(table(5), tmp_path / "rows.csv")
    manifest = batch.run(data, tmp_path / to)
    (tmp_path / to / gone).unlink()
    with pytest.raises(StoreError, match=r"manifest\.json tells of predictions that are gone from .*delete it"):
        batch.run(data, tmp_path / to)
    Path(manifest.job.manifest).unlink()
    assert batch.run(data, tmp_path / to).predicted == 5


def test_names_in_the_destination(batch: Batch, tmp_path: Path) -> None:
    for span in (3, 12):
        write_csv(table(5), tmp_path / f"day-{span}.csv")
    job = batch.resolve(f"{tmp_path}/day-{{SPAN}}.csv", f"{tmp_path}/out/{{SPAN}}-{{RUN}}")
    assert job.to == f"{tmp_path}/out/12-run-1"
    with pytest.raises(ConfigError, match="stands for a span of the data"):
        batch.resolve(tmp_path / "day-3.csv", f"{tmp_path}/out/{{SPAN}}")
    with pytest.raises(ConfigError, match=r"\{DATE\} means nothing"):
        batch.resolve(tmp_path / "day-3.csv", f"{tmp_path}/out/{{DATE}}")
    with pytest.raises(ConfigError, match="give --to"):
        batch.resolve(tmp_path / "day-3.csv", "")
    with pytest.raises(ConfigError, match=r"csv, but --to .* is parquet"):
        batch.resolve(tmp_path / "day-3.csv", tmp_path / "x.parquet", format="csv")
    assert not quarantined(tmp_path / "out")
