"""Snapshots of every format become the examples that their originals become."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from slipway.data.examples.dataset import Manifest
from slipway.data.examples.ingest import IngestConfig, ingest_source
from slipway.data.examples.source import Source, locate
from slipway.data.snapshots.resolve import look, resolve
from slipway.data.snapshots.take import take_snapshot
from tests.slipway.data.examples.row_files import WRITERS

CONFIG = {"task": "binary", "label": {"column": "y"}, "split": {"method": "hash"}, "ingestion": {"max_quarantined": 1}}


def ingested(source: Source, folder: Path) -> Manifest:
    return ingest_source(source, IngestConfig.model_validate(CONFIG), None, folder)


@pytest.mark.parametrize(
    "suffix", [*WRITERS, *(pytest.param(one, marks=pytest.mark.slow) for one in (".csv.gz", ".tfrecord.gz"))]
)
def test_snapshot_becomes_the_same_examples(suffix: str, root: str, tmp_path: Path) -> None:
    """Folders that are columns, and two files with the same bytes, which are stored once."""
    write, plain = WRITERS[suffix.removesuffix(".gz")], suffix.removesuffix(".gz")
    for day, first in ((1, 0), (2, 0), (3, 100)):
        path = tmp_path / "in" / f"day={day}" / f"part{plain}"
        path.parent.mkdir(parents=True)
        rows: list[dict[str, Any]] = [{"id": first + n, "price": n / 4, "y": n % 2} for n in range(100)]
        write(path, rows)
        if suffix.endswith(".gz"):
            path.with_name(f"part{suffix}").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            path.unlink()
    uri = str(tmp_path / "in")
    take_snapshot(uri, "one", root)
    theirs = ingested(locate(uri, 1), tmp_path / "theirs")
    ours = ingested(resolve("snapshot:one", 1, root), tmp_path / "ours")
    assert (ours.digest, ours.rows, ours.columns) == (theirs.digest, theirs.rows, theirs.columns)
    assert ours.rows.read == 300
    assert "day" in ours.columns


def test_quarantined_row_names_the_file_of_the_snapshot(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("id,y\n" + "".join(f"{n},{n % 2}\n" for n in range(100)) + "7\n")
    take_snapshot(str(tmp_path / "in"), "one", str(tmp_path / "data"))
    ingested(resolve("snapshot:one", 1, str(tmp_path / "data")), tmp_path / "out")
    [row] = (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()
    assert (json.loads(row)["file"], json.loads(row)["line"]) == ("snapshot:one/a.csv", 102)


def test_headers_of_a_snapshot_are_read_without_its_rows(tmp_path: Path) -> None:
    from slipway.data.examples.read import read_names
    from slipway.module_api import Ingestion

    (tmp_path / "a.csv").write_text("id,y\n1,2\n")
    take_snapshot(str(tmp_path / "a.csv"), "one", str(tmp_path / "data"))
    source = look("snapshot:one", 1, str(tmp_path / "data"))
    assert source is not None
    assert read_names(source, Ingestion()) == ["id", "y"]
