"""A disk that fills up while the examples are written."""

from __future__ import annotations

import gzip
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.data.examples.dataset import open_split
from slipway.errors import DataError, StoreError
from tests.slipway.data.examples.ingesting import ingest, numbered
from tests.small_disk import mount_small_disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk", "512k") as disk:
        yield disk


@pytest.mark.parametrize("extra", ["", "7,8\n"], ids=["sound", "one row is bad"])
def test_ingest_full_disk_says_so_and_leaves_nothing(small_disk: Path, tmp_path: Path, extra: str) -> None:
    data = tmp_path / "data.csv"
    data.write_text(numbered(200_000) + extra, encoding="utf-8")
    with pytest.raises(StoreError, match=r"examples: the disk is full; nothing was written"):
        ingest(data, small_disk / "examples")
    assert list((small_disk / "examples").iterdir()) == []


def test_ingest_after_a_failure_starts_afresh(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("id,x,y\n", encoding="utf-8")
    with pytest.raises(DataError, match="no rows"):
        ingest(data, tmp_path / "examples")
    data.write_text("id,x,y\n" + "1\n" * 100, encoding="utf-8")
    assert ingest(data, tmp_path / "examples").rows.quarantined == 100
    data.write_text(numbered(100), encoding="utf-8")
    assert ingest(data, tmp_path / "examples").rows.read == 100
    assert not (tmp_path / "examples" / "quarantine.jsonl").exists()


def test_ingest_full_disk_of_temporary_files_names_it(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpacked files and what DuckDB spills lie there, not in the artifact."""
    (tmp_path / "data.csv.gz").write_bytes(gzip.compress(numbered(200_000).encode()))
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(StoreError, match=r"/disk: the disk is full; nothing was written"):
        ingest(tmp_path / "data.csv.gz", tmp_path / "examples")
    assert list((tmp_path / "examples").iterdir()) == list(small_disk.iterdir()) == []


def test_ingest_that_may_not_write_does_not_blame_the_data(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(numbered(200_000), encoding="utf-8")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"examples: the examples of .*data\.csv cannot be written: .*too large"):
            ingest(tmp_path / "data.csv", tmp_path / "examples")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "examples").iterdir()) == []


def test_ingest_over_a_half_written_artifact_is_as_on_an_empty_folder(tmp_path: Path) -> None:
    """A step that is killed and retried finds its own leftovers."""
    (tmp_path / "data.csv").write_text(numbered(100), encoding="utf-8")
    left = tmp_path / "examples" / "split=train"
    left.mkdir(parents=True)
    (left / "part-00007.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(StoreError, match=r"manifest\.json is missing: .*ingest_examples was stopped"):
        open_split(tmp_path / "examples", "train")
    manifest = ingest(tmp_path / "data.csv", tmp_path / "examples")
    assert open_split(tmp_path / "examples", "train").count_rows() == manifest.rows.train
