"""Snapshots of files of each kind, in a folder and in a bucket: what is kept, once, and what is refused."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.data.examples.source import Source, SourceFile, locate
from slipway.data.snapshots import take
from slipway.data.snapshots.resolve import resolve
from slipway.data.snapshots.store import Snapshot, list_snapshots, load_snapshot
from slipway.data.snapshots.take import take_snapshot
from slipway.errors import DataError, StoreError
from slipway.stores import storage


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def stored(root: str) -> list[str]:
    """Files below the root that hold data."""
    return [file.name for file in storage.list_files(root) if not file.name.startswith("names/")]


def read(source_files: list[SourceFile]) -> list[bytes]:
    return [storage.read_bytes(file.uri) for file in source_files]


def test_snapshot_keeps_what_a_file_was(root: str, tmp_path: Path) -> None:
    path = tmp_path / "trips.csv"
    path.write_bytes(b"fare\n1\n")
    taken = take_snapshot(str(path), "one", root)
    path.write_bytes(b"fare\n2\n")
    source = resolve("snapshot:one", 1, root)
    assert (taken.is_new, source.uri, source.format, read(source.files)) == (
        True,
        "snapshot:one",
        "csv",
        [b"fare\n1\n"],
    )
    assert source.files[0].digest == hashlib.sha256(b"fare\n1\n").hexdigest()


def test_snapshot_has_the_digest_of_its_data_wherever_they_lie(root: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", **{"a.csv": "x\n1\n", "b.csv": "x\n2\n"})
    taken = take_snapshot(str(folder), "one", root)
    assert taken.snapshot.digest == locate(str(folder), 1).digest


def test_snapshot_of_the_same_bytes_is_one_copy(root: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", **{"a.csv": "x\n1\n", "copy_of_a.csv": "x\n1\n", "b.csv": "x\n2\n"})
    first = take_snapshot(str(folder), "first", root)
    again = take_snapshot(str(folder / "a.csv"), "again", root)
    assert (first.copied, again.copied, len(stored(root))) == (8, 0, 2)
    same = take_snapshot(str(folder), "first", root)
    assert (same.is_new, same.copied, same.snapshot) == (False, 0, load_snapshot(root, "first"))
    assert read(resolve("snapshot:first", 1, root).files) == [b"x\n1\n", b"x\n2\n", b"x\n1\n"]


def test_snapshot_name_never_moves(root: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", **{"a.csv": "x\n1\n", "b.csv": "x\n2\n"})
    take_snapshot(str(folder / "a.csv"), "one", root)
    with pytest.raises(DataError, match=r"'one' has other data.*choose another"):
        take_snapshot(str(folder / "b.csv"), "one", root)
    assert read(resolve("snapshot:one", 1, root).files) == [b"x\n1\n"]
    assert len(stored(root)) == 1  # the refused data were not copied


def test_snapshot_name_that_is_written_meanwhile_stays(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "in", **{"a.csv": "x\n1\n", "b.csv": "x\n2\n"})
    write_new = storage.write_new

    def second(uri: str, content: bytes) -> bool:
        monkeypatch.setattr(storage, "write_new", write_new)
        take_snapshot(str(folder / "a.csv"), "one", root)
        return write_new(uri, content)

    monkeypatch.setattr(storage, "write_new", second)
    with pytest.raises(DataError, match="'one' has other data"):
        take_snapshot(str(folder / "b.csv"), "one", root)
    assert read(resolve("snapshot:one", 1, root).files) == [b"x\n1\n"]


def test_interrupted_snapshot_is_seen_by_nobody_and_goes_on(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "in", **{f"{number}.csv": f"x\n{number}\n" for number in range(5)})
    told: list[str] = []

    def stop_at_third(name: str, copied: bool) -> None:
        told.append(name)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_snapshot(str(folder), "one", root, 1, stop_at_third)
    assert list_snapshots(root) == []
    with pytest.raises(DataError, match="there is no snapshot 'one'"):
        resolve("snapshot:one", 1, root)
    copied: dict[str, bool] = {}
    take_snapshot(str(folder), "one", root, 1, copied.__setitem__)
    assert copied == {"0.csv": False, "1.csv": False, "2.csv": False, "3.csv": True, "4.csv": True}
    assert len(stored(root)) == 5  # nothing half-copied is left


def test_file_that_changes_while_it_is_copied_is_read_again(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens, the digest is that of the bytes that were kept."""
    path, copy, changes = tmp_path / "trips.csv", storage.copy, [b"x\n2\n"]
    path.write_bytes(b"x\n1\n")

    def changed_meanwhile(source: str, target: str) -> None:
        copy(source, target)
        if source == str(path) and changes:
            path.write_bytes(changes.pop())
            os.utime(path, ns=(0, 0))

    monkeypatch.setattr(storage, "copy", changed_meanwhile)
    file = take_snapshot(str(path), "one", root).snapshot.files[0]
    assert file.sha256 == hashlib.sha256(b"x\n2\n").hexdigest()
    assert read(resolve("snapshot:one", 1, root).files) == [b"x\n2\n"]


def test_file_that_never_rests_is_refused(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copy = tmp_path / "trips.csv", storage.copy
    path.write_bytes(b"x\n")

    def grows(source: str, target: str) -> None:
        copy(source, target)
        if source == str(path):
            with path.open("ab") as file:
                file.write(b"1\n")

    monkeypatch.setattr(storage, "copy", grows)
    with pytest.raises(DataError, match=r"trips\.csv changes while it is copied, 3 times in a row"):
        take_snapshot(str(path), "one", root)
    assert list_snapshots(root) == []


@pytest.mark.parametrize("name", ["", "a/b", "../up", "-x", "a b", "a,snapshot:b", "é"])
def test_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    root = str(tmp_path)
    with pytest.raises(DataError, match="is no name of a snapshot"):
        take_snapshot("trips.csv", name, root)
    with pytest.raises(DataError, match="is no name of a snapshot"):
        resolve(f"snapshot:{name}", 1, root)


def test_missing_snapshot_names_the_nearest(root: str, tmp_path: Path) -> None:
    write(tmp_path, **{"a.csv": "x\n1\n"})
    take_snapshot(str(tmp_path / "a.csv"), "trips-11", root)
    with pytest.raises(DataError, match=r"no snapshot 'trips-12'.*trips-11"):
        resolve("snapshot:trips-12", 1, root)


def _damage(root: str, snapshot: Snapshot, content: bytes | None) -> None:
    uri = storage.join(root, snapshot.files[0].path)
    if content is None:
        storage.delete_folder(storage.join(root, snapshot.files[0].path.partition("/")[0]))
    else:
        storage.write_bytes(uri, content)


@pytest.mark.parametrize(("content", "problem"), [(b"x\n9\n", "was changed"), (None, "is gone")])
def test_snapshot_whose_bytes_were_touched_is_refused(
    root: str, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    folder = write(tmp_path / "in", **{"a.csv": "x\n1\n", "b.csv": "x\n2\n"})
    _damage(root, take_snapshot(str(folder), "one", root).snapshot, content)
    with pytest.raises(DataError, match=rf"snapshot:one: [^\n]*\n- a\.csv {problem}"):
        resolve("snapshot:one", 1, root)


def test_spans_are_kept_in_their_order_and_are_no_columns(root: str, tmp_path: Path) -> None:
    from slipway.data.examples.partitions import find_partitions

    folder = write(tmp_path / "in", **{f"day={day}__a.csv": f"x\n{day}\n" for day in (9, 10, 11)})
    take_snapshot(f"{folder}/day={{SPAN}}/a.csv", "spans", root, window=2)
    source = resolve("snapshot:spans", 1, root)
    assert (source.spans, read(source.files)) == ([10, 11], [b"x\n10\n", b"x\n11\n"])
    assert find_partitions(source) == {}


def test_folders_whose_names_are_columns_stay_columns(root: str, tmp_path: Path) -> None:
    from slipway.data.examples.partitions import find_partitions

    folder = write(tmp_path / "in", **{f"day={day}__a.csv": "x\n1\n" for day in (1, 2)})
    take_snapshot(str(folder), "days", root)
    take_snapshot(f"{folder}/day=*/a.csv", "by-pattern", root)
    for name in ("days", "by-pattern"):
        found = find_partitions(resolve(f"snapshot:{name}", 1, root))
        assert list(found["day"].values()) == ["1", "2"]
    other = write(tmp_path / "other", **{f"day={day}__a.csv": "x\n1\n" for day in (3, 4)})
    with pytest.raises(DataError, match="has other data"):  # the same bytes, but other rows
        take_snapshot(str(other), "days", root)


def test_copies_of_the_incoming_are_not_left(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, **{"a.csv": "x\n1\n"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "copy", full)
    with pytest.raises(StoreError, match="No space left"):
        take_snapshot(str(tmp_path / "a.csv"), "one", root)
    assert stored(root) == []


def test_file_that_goes_while_it_is_read_is_named(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copy = tmp_path / "trips.csv", storage.copy
    path.write_bytes(b"x\n")

    def gone(source: str, target: str) -> None:
        copy(source, target)
        path.unlink(missing_ok=True)

    monkeypatch.setattr(storage, "copy", gone)
    with pytest.raises(DataError, match=r"trips\.csv was there when the snapshot began, and is gone now"):
        take_snapshot(str(path), "one", root)
    assert list_snapshots(root) == []


def test_table_of_bigquery_is_kept_as_parquet(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow batches such as BigQuery's answer stand in for it."""
    table = pa.table({"fare": [0.25, 1.5], "company": ["a", None]})
    located = Source(uri="bq://p.d.trips", format="bigquery", digest="x", table="p.d.trips")
    monkeypatch.setattr(take, "locate_in_bigquery", lambda _: located)
    monkeypatch.setattr(take, "read_batches", lambda _: table.to_reader(max_chunksize=1))
    taken = take_snapshot("bq://p.d.trips", "one", root).snapshot
    source = resolve("snapshot:one", 1, root)
    assert (taken.uri, source.format, source.files[0].name) == ("bq://p.d.trips", "parquet", "rows.parquet")
    assert pq.read_table(io.BytesIO(storage.read_bytes(source.files[0].uri))).equals(table)
