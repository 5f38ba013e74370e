"""A disk that fills up while the examples are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.errors import DataError
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
    with pytest.raises(DataError, match=r"examples: the disk is full; nothing was written"):
        ingest(data, small_disk / "examples")
    assert list((small_disk / "examples").iterdir()) == []


def test_ingest_after_a_failure_starts_afresh(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("id,x,y\n" + "1\n" * 100, encoding="utf-8")
    with pytest.raises(DataError, match="could not be read"):
        ingest(data, tmp_path / "examples")
    data.write_text(numbered(100), encoding="utf-8")
    assert ingest(data, tmp_path / "examples").rows.read == 100
    assert not (tmp_path / "examples" / "quarantine.jsonl").exists()
