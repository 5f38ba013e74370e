"""Folders such as `day=2024-01-01/` are columns, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.errors import DataError
from tests.slipway.data.examples.ingesting import ingest
from tests.slipway.data.examples.row_files import WRITERS

FOLDERS = ("day=2024-01-01/region=a%20b", "day=2024-01-02/region=c", "day=__HIVE_DEFAULT_PARTITION__/region=c")


def _write(root: Path, extension: str) -> None:
    for number, folder in enumerate(FOLDERS):
        (root / folder).mkdir(parents=True)
        first = 100 * number
        rows: list[dict[str, Any]] = [{"id": first + n, "price": n / 4, "name": "x", "y": n % 2} for n in range(100)]
        WRITERS[extension](root / folder / f"part{extension}", rows)


@pytest.mark.parametrize("extension", list(WRITERS))
def test_ingest_hive_folders_are_columns_in_every_format(tmp_path: Path, extension: str) -> None:
    _write(tmp_path / "hive", extension)
    ingested = ingest(tmp_path / "hive", tmp_path / "out", times="seconds")
    assert ingested.column("day")[::100] == [1704067200, 1704153600, None]
    assert ingested.column("region")[::100] == ["a b", "c", "c"]
    assert (ingested.rows.read, ingested.rows.quarantined) == (300, 0)


@pytest.mark.parametrize("pattern", ["day=*/**/*.csv", "day=2024*/*/part.csv", "day=2024-01-01/region=*/*.csv"])
def test_ingest_hive_folders_of_a_glob_or_below_one_are_columns(tmp_path: Path, pattern: str) -> None:
    _write(tmp_path, ".csv")
    assert "region" in ingest(tmp_path / pattern, tmp_path / "out").manifest.columns


def test_ingest_bad_row_in_a_hive_folder_goes_to_quarantine(tmp_path: Path) -> None:
    _write(tmp_path / "hive", ".csv")
    part = tmp_path / "hive" / FOLDERS[1] / "part.csv"
    part.write_text(part.read_text() + "1,2\n")
    ingested = ingest(tmp_path / "hive", tmp_path / "out")
    assert [row["file"] for row in ingested.quarantine()] == [str(part)]
    assert ingested.column("day")[0] == "2024-01-01"


def test_ingest_partition_that_the_file_holds_too_stays_the_files(tmp_path: Path) -> None:
    (tmp_path / "name=z").mkdir()
    WRITERS[".parquet"](tmp_path / "name=z" / "a.parquet", [{"id": n, "name": "x", "y": n % 2} for n in range(60)])
    assert set(ingest(tmp_path, tmp_path / "out").column("name")) == {"x"}


def test_ingest_partition_may_be_ignored(tmp_path: Path) -> None:
    _write(tmp_path / "hive", ".csv")
    assert "day" not in ingest(tmp_path / "hive", tmp_path / "out", ignore=["day"]).manifest.columns
    with pytest.raises(DataError, match=r"ingestion\.ignore.*'dya'.*did you mean day"):
        ingest(tmp_path / "hive", tmp_path / "out", ignore=["dya"])
