"""A disk that fills up while the examples are written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.errors import DataError
from tests.slipway.examples.ingesting import ingest, numbered


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=False, capture_output=True
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip("a small tmpfs cannot be mounted here: it takes root and the right to mount")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


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
