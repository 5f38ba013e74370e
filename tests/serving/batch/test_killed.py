"""A job that is killed after each of its files goes on, and writes what an undisturbed one does; shards; full disks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from serving.batch import units
from serving.batch.steps import end, predict, validate
from slipway.errors import DataError, StoreError
from slipway.stores import storage
from tests.batch_jobs import Batch, quarantined, read, table, with_values, write_csv
from tests.each_store import ON_EACH_STORE
from tests.fakes.storage_server import StorageServer
from tests.small_disk import mount_small_disk


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "name"), [("local", "out"), ("local", "out.csv"), ("google_storage", "out"), ("s3_server", "out")]
)
def test_a_job_killed_after_each_of_its_files_goes_on(
    batch: Batch, tmp_path: Path, where: str, name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    place = str(tmp_path / "killed")
    if where != "local":
        server: StorageServer = request.getfixturevalue(where)
        place = server.uri("killed")
    data = write_csv(table(250), tmp_path / "rows.csv")
    data.write_text(data.read_text().replace("000007,", "000007,much", 1))
    command = [sys.executable, "-m", "tests.serving.batch.kill_each", batch.home, str(data), storage.join(place, name)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    killed = [line.split()[1:] for line in ended.stdout.splitlines() if line.startswith("killed:")]
    # The job, its rows and those that cannot be read, the plan; a unit's quarantine, record and part; the quarantine,
    # the one file of a .csv, the manifest.
    assert len(killed) >= 8
    assert not any("manifest" in file for file in killed[-2])
    assert any("manifest" in file for file in killed[-1])

    monkeypatch.setattr(units, "UNIT_ROWS", 150)
    batch.run(data, tmp_path / "whole" / name)
    if name == "out.csv":
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    else:
        written = storage.join(place, name)
        assert read(written).equals(read(tmp_path / "whole" / name))
        assert quarantined(written) == quarantined(tmp_path / "whole" / name) != []
        assert [one.name for one in storage.list_files(written)] == [
            "manifest.json", "part-00000.parquet", "quarantine.jsonl",
        ]  # fmt: skip


@pytest.mark.slow
@ON_EACH_STORE
def test_parquet_in_a_bucket_is_predicted_by_shards_as_on_this_machine(
    batch: Batch, tmp_path: Path, storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "UNIT_ROWS", 100)
    local = tmp_path / "rows.parquet"
    pq.write_table(with_values(table(650), "town", {3: "Rome"}), local, row_group_size=50)
    remote = storage_server.uri("rows.parquet")
    storage.copy(str(local), remote)
    here = batch.run(local, tmp_path / "out")
    there = batch.run(remote, storage_server.uri("out"), shards=3)
    assert len(here.parts) == len(there.parts) == 7
    assert [one.rows for one in here.parts] == [one.rows for one in there.parts]
    assert read(storage_server.uri("out")).equals(read(tmp_path / "out"))
    assert [one["line"] for one in quarantined(storage_server.uri("out"))] == [4]
    one_file = batch.run(remote, storage_server.uri("all.parquet"))
    assert one_file.predicted == 649
    assert read(storage_server.uri("all.parquet")).equals(read(tmp_path / "out"))


def test_a_shard_predicts_its_units_alone_and_no_end_is_written_without_all(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "UNIT_ROWS", 100)
    pq.write_table(table(500), tmp_path / "rows.parquet", row_group_size=100)
    job = batch.resolve(tmp_path / "rows.parquet", tmp_path / "out")
    checked = validate(job)
    predict(job, checked, 1, 3)
    assert sorted(path.name for path in (tmp_path / "out").glob("part*")) == [
        "part-00001.parquet",
        "part-00004.parquet",
    ]
    with pytest.raises(StoreError, match=r"part-00000\.parquet is missing: its shard did not end well"):
        end(job, checked, "run-1")
    assert not Path(job.manifest).exists()


def test_a_job_that_was_stopped_goes_on_after_the_parts_that_are_there(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "UNIT_ROWS", 100)
    pq.write_table(table(500), tmp_path / "rows.parquet", row_group_size=100)
    job = batch.resolve(tmp_path / "rows.parquet", tmp_path / "out")
    predict(job, validate(job), 1, 3)
    there = {path: path.stat().st_ino for path in (tmp_path / "out").glob("part*")}
    batch.run(tmp_path / "rows.parquet", tmp_path / "out")
    assert {path: path.stat().st_ino for path in there} == there
    batch.run(tmp_path / "rows.parquet", tmp_path / "whole")
    assert read(tmp_path / "out").equals(read(tmp_path / "whole"))


def test_a_full_disk_leaves_no_half_part(batch: Batch, tmp_path: Path) -> None:
    data = tmp_path / "rows.parquet"
    pq.write_table(table(20_000), data)
    with mount_small_disk(tmp_path / "small", "128k") as small:
        with pytest.raises((StoreError, DataError), match=r"No space left|disk is full"):
            batch.run(data, small / "out")
        assert [path.name for path in (small / "out").iterdir()] == ["_job"]


def test_damaged_data_are_named(batch: Batch, tmp_path: Path) -> None:
    data = tmp_path / "rows.parquet"
    pq.write_table(table(2_000), data, row_group_size=500)
    job = batch.resolve(data, tmp_path / "out")
    checked = validate(job)
    content = bytearray(data.read_bytes())
    content[200:4_000] = b"\xff" * 3_800
    data.write_bytes(content)
    with pytest.raises(DataError, match=r"rows\.parquet"):
        predict(job, checked, 0, 1)
