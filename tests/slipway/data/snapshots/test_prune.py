"""What a pruning of snapshots removes, and what it keeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway.data.snapshots.prune import Prunable, find_prunable, prune
from slipway.data.snapshots.resolve import resolve
from slipway.data.snapshots.store import list_snapshots
from slipway.data.snapshots.take import take_snapshot
from slipway.errors import DataError
from slipway.remote.s3 import PROBE
from slipway.stores import storage

WHY = {"one": ["the run taxi-1 read it"]}


@pytest.fixture
def root(root: str, tmp_path: Path) -> str:
    """Two snapshots that share a file."""
    for name, files in {"one": "ab", "two": "bc"}.items():
        folder = tmp_path / name
        folder.mkdir()
        for file in files:
            (folder / f"{file}.csv").write_text(f"x\n{file}\n")
        take_snapshot(str(folder), name, root)
    return root


def names(found: Prunable) -> list[str]:
    return [one.name for one in found.removed]


def files(root: str) -> int:
    return len([file for file in storage.list_files(root) if not file.name.startswith("names/")])


def test_prune_removes_what_nothing_names_and_keeps_shared_bytes(root: str) -> None:
    found = find_prunable(root, WHY)
    assert (names(found), found.kept, found.size) == (["two"], WHY, 4)
    assert (len(list_snapshots(root)), files(root)) == (2, 3)  # so far nothing was removed
    assert prune(root, WHY) == found
    assert ([one.name for one in list_snapshots(root)], files(root)) == (["one"], 2)
    assert len(resolve("snapshot:one", 1, root).files) == 2
    with pytest.raises(DataError, match="there is no snapshot 'two'"):
        resolve("snapshot:two", 1, root)


def test_prune_keeps_young_snapshots(root: str) -> None:
    found = prune(root, {}, older_than_days=1)
    assert (names(found), found.kept["two"]) == ([], ["it is younger than 1 days"])
    assert files(root) == 3


def test_prune_of_all_leaves_nothing(root: str) -> None:
    prune(root, {})
    left = [file.name for file in storage.list_files(root)]
    assert [name for name in left if not name.endswith(PROBE)] == []  # S3's, at the first write with a condition


def test_bytes_without_a_name_go_after_a_day(tmp_path: Path) -> None:
    root, day = tmp_path / "data", 86_400
    for name, age in (("0" * 64, 2 * day), ("1" * 64, 0), (".incoming-x", 2 * day)):
        (root / name).mkdir(parents=True)
        (root / name / "data.csv").write_text("x\n")
        then = (root / name / "data.csv").stat().st_mtime - age
        os.utime(root / name / "data.csv", (then, then))
    theirs = root / "churn" / "customers.csv"  # somebody's own folder
    theirs.parent.mkdir()
    theirs.write_text("x\n")
    os.utime(theirs, (0, 0))
    found = prune(str(root), {})
    assert found.orphans == [".incoming-x/data.csv", f"{'0' * 64}/data.csv"]
    assert sorted(path.name for path in root.iterdir()) == ["1" * 64, "churn"]
    assert theirs.exists()
