"""The step as the pipeline calls it: with what kfp makes of its parameters, and on the real data."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from slipway.data.examples.dataset import Manifest, open_split, read_manifest
from slipway.errors import ConfigError
from tests.components.ingesting import CONFIG, ROWS
from tests.each_store import ON_EACH_STORE
from tests.example_artifacts import write_curated_schema
from tests.fakes.storage_server import StorageServer
from tests.steps import ingest, resolve


def _ingest(uri: str, examples: Path, config: dict[str, Any] = CONFIG, schema: str = "") -> Manifest:
    source_uri, _ = resolve(uri, 2, "taxi", "", str(examples.parent / "sources"))
    return ingest(source_uri, config, write_curated_schema(examples.parent, schema), str(examples))


def test_ingest_writes_splits_and_a_manifest_that_others_read(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_text(ROWS)
    manifest = _ingest(str(tmp_path / "trips.csv"), tmp_path / "examples")
    assert read_manifest(tmp_path / "examples") == manifest
    assert manifest.columns == {"fare": "double", "tips": "int64", "company": "string", "big_tip": "int64"}
    assert manifest.rows.read == manifest.rows.train + manifest.rows.eval == 300
    assert open_split(tmp_path / "examples", "train").count_rows() == manifest.rows.train
    assert manifest.label == "big_tip"
    assert sorted(path.name for path in (tmp_path / "examples").iterdir()) == [
        "manifest.json", "split=eval", "split=train",
    ]  # fmt: skip


def test_ingest_files_hash_to_what_the_manifest_says(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "trips.csv").write_text(ROWS)
    manifest = _ingest(str(tmp_path / "trips.csv"), tmp_path / "examples")
    for file in manifest.files:
        content = (tmp_path / "examples" / file.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256


def test_ingest_content_decides_the_digest(tmp_path: Path) -> None:
    for name, text in (("a.csv", ROWS), ("b.csv", ROWS), ("c.csv", ROWS.replace("10.5,0", "10.5,3", 1))):
        (tmp_path / name).write_text(text)
    digests = [_ingest(str(tmp_path / name), tmp_path / name[0]).digest for name in ("a.csv", "b.csv", "c.csv")]
    assert digests[0] == digests[1] != digests[2]


def test_ingest_spans_are_read_together(tmp_path: Path) -> None:
    for span in (8, 9, 10):
        (tmp_path / f"{span}.csv").write_text(ROWS)
    manifest = _ingest(str(tmp_path / "{SPAN}.csv"), tmp_path / "examples")
    assert manifest.rows.read == 600
    assert manifest.source["spans"] == [9, 10]


def test_ingest_broken_schema_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_text(ROWS)
    with pytest.raises(ConfigError, match=r"schema\.pbtxt of the module:2"):
        _ingest(
            str(tmp_path / "trips.csv"), tmp_path / "examples", schema='feature { name: "fare" }\nfeature { nam: 1 }'
        )


@ON_EACH_STORE
def test_ingest_from_a_bucket_is_as_from_here(tmp_path: Path, storage_server: StorageServer) -> None:
    import gzip

    (tmp_path / "trips.csv").write_text(ROWS)
    storage_server.put("trips/1.csv.gz", gzip.compress(ROWS.encode()))
    here = _ingest(str(tmp_path / "trips.csv"), tmp_path / "here")
    there = _ingest(storage_server.uri("trips"), tmp_path / "there")
    assert there.files == here.files
    storage_server.put("bad/1.csv", b"fare,tips\n1,2\n1\n")
    assert _ingest(storage_server.uri("bad/1.csv"), tmp_path / "bad").rows.quarantined == 1
    [bad] = (tmp_path / "bad" / "quarantine.jsonl").read_text().splitlines()
    assert re.search(r"(gs|s3)://.*bad/1\.csv.*: 3,.*1 fields where the header has 2", bad)


def test_ingest_sample_is_the_first_rows_of_the_eval_split(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_text(ROWS)
    _ingest(str(tmp_path / "trips.csv"), tmp_path / "examples")
    part = Path("split=eval", "part-00000.parquet")
    sample, examples = (pq.ParquetFile(tmp_path / name / part).read() for name in ("examples-sample", "examples"))
    assert sample.equals(examples.slice(0, 5_000))
    assert [path.name for path in (tmp_path / "examples-sample").glob("split=*")] == ["split=eval"]
    assert open_split(tmp_path / "examples-sample", "eval").count_rows() == sample.num_rows


def test_ingest_real_trips_are_all_read(tmp_path: Path) -> None:
    root = os.environ.get("SLIPWAY_REAL_DATA")
    if not root:
        pytest.skip("SLIPWAY_REAL_DATA does not name the folder that holds chicago_taxi/trips.csv")
    trips = Path(root, "chicago_taxi", "trips.csv")
    manifest = _ingest(str(trips), tmp_path / "untyped")
    assert (manifest.rows.read, manifest.rows.quarantined, manifest.rows.unlabelled) == (14_169, 0, 0)
    assert manifest.rows.train / manifest.rows.read == pytest.approx(2 / 3, abs=0.02)
    labels = open_split(tmp_path / "untyped", "train").to_table(columns=["big_tip"]).column(0).to_pylist()
    assert sum(labels) / len(labels) == pytest.approx(0.225, abs=0.02)
    doubles = {name for name, kind in manifest.columns.items() if kind == "double"}
    assert doubles == {
        "fare", "tips", "trip_miles", "pickup_latitude", "pickup_longitude", "dropoff_latitude", "dropoff_longitude",
    }  # fmt: skip
    assert {name for name, kind in manifest.columns.items() if kind == "string"} == {"payment_type", "company"}

    schema = Path("modules/taxi/schema.pbtxt").read_text(encoding="utf-8")
    curated = _ingest(str(trips), tmp_path / "curated", schema=schema)
    assert json.loads(json.dumps(curated.columns)) == manifest.columns
    assert curated.digest == manifest.digest
