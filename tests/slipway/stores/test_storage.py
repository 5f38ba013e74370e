"""Files by URI: the same operations on this machine and on gs://."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.stores import storage
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.storage_server import StorageServer


@pytest.fixture(params=["local", "google_storage", "s3_server"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "root")
    server: StorageServer = request.getfixturevalue(request.param)
    return server.uri("root")


@contextmanager
def small_file_limit() -> Iterator[None]:
    """Files may have 1,000 bytes at most."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_write_then_read_gives_the_same(root: str) -> None:
    uri = storage.join(root, "a", "b.txt")
    storage.write_text(uri, "é\n")
    assert storage.read_text(uri) == "é\n"
    storage.write_bytes(uri, b"")
    assert storage.read_bytes(uri) == b""


def test_exists_knows_files_and_folders(root: str) -> None:
    storage.write_text(storage.join(root, "a", "b.txt"), "x")
    assert storage.exists(storage.join(root, "a", "b.txt"))
    assert storage.exists(storage.join(root, "a"))
    assert not storage.exists(storage.join(root, "c"))


def test_list_files_goes_down_and_list_names_does_not(root: str) -> None:
    for name in ("b/2.txt", "b/c/1.txt", "a.txt"):
        storage.write_text(storage.join(root, name), name)
    found = storage.list_files(root)
    assert [(file.name, file.size) for file in found] == [("a.txt", 5), ("b/2.txt", 7), ("b/c/1.txt", 9)]
    assert [storage.read_text(file.uri) for file in found] == ["a.txt", "b/2.txt", "b/c/1.txt"]
    assert storage.list_names(root) == ["a.txt", "b"]


def test_list_of_a_folder_that_is_not_there_is_empty(root: str) -> None:
    assert storage.list_files(storage.join(root, "gone")) == []
    assert storage.list_names(storage.join(root, "gone")) == []


def test_list_on_gs_leaves_marks_of_folders_out_of_the_files(storage_server: StorageServer) -> None:
    for name in ("f/", "f/sub/", "f/sub/x", "f/lone/"):
        storage_server.put(name, b"")
    assert [file.name for file in storage.list_files(storage_server.uri("f"))] == ["sub/x"]
    assert storage.list_names(storage_server.uri("f")) == ["lone", "sub"]


def test_read_missing_file_is_named(root: str) -> None:
    with pytest.raises(StoreError, match=r"gone.*there is no such file"):
        storage.read_bytes(storage.join(root, "gone"))


def test_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    uri = str(tmp_path / "root" / "file")
    storage.write_text(uri, "old")
    with pytest.raises(StoreError, match="gone"):
        storage.copy(str(tmp_path / "gone"), uri)
    with small_file_limit(), pytest.raises(StoreError, match=r"root/file: cannot write: File too large"):
        storage.write_text(uri, "x" * 10_000)
    assert storage.read_text(uri) == "old"
    assert [file.name for file in storage.list_files(str(tmp_path / "root"))] == ["file"]


def test_file_that_may_not_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file/below: cannot write: .*correct the path"):
        storage.write_text(str(tmp_path / "file" / "below"), "x")
    with pytest.raises(StoreError, match=r"cannot read: Is a directory"):
        storage.read_bytes(str(tmp_path))


def test_copy_folder_down_and_up(root: str, tmp_path: Path) -> None:
    storage.write_text(storage.join(root, "deep", "a"), "1")
    storage.write_text(storage.join(root, "b"), "2")
    storage.copy_folder(root, str(tmp_path / "here"))
    assert (tmp_path / "here" / "deep" / "a").read_text() == "1"
    storage.copy_folder(str(tmp_path / "here"), storage.join(root, "again"))
    assert storage.read_text(storage.join(root, "again", "b")) == "2"
    with pytest.raises(StoreError, match="no such folder, or it is empty"):
        storage.copy_folder(storage.join(root, "gone"), str(tmp_path / "x"))


def test_copy_folder_writes_the_last_file_after_all_others(tmp_path: Path) -> None:
    for name in ("a", "b/c", "z"):
        storage.write_text(str(tmp_path / "from" / name), name)
    (tmp_path / "to" / "a").mkdir(parents=True)  # no file can take its place
    with pytest.raises(StoreError, match="Is a directory"):
        storage.copy_folder(str(tmp_path / "from"), str(tmp_path / "to"), "a")
    assert [file.name for file in storage.list_files(str(tmp_path / "to"))] == ["b/c", "z"]


def test_delete_folder_takes_all_below(root: str) -> None:
    storage.write_text(storage.join(root, "a", "b"), "")
    storage.delete_folder(storage.join(root, "a"))
    assert not storage.exists(storage.join(root, "a", "b"))
    storage.delete_folder(storage.join(root, "gone"))


def test_delete_folder_on_gs_takes_the_marks_that_tensorflow_makes(google_storage: StorageServer) -> None:
    for name in ("f/", "f/sub/", "f/sub/x", "f/lone/", "fg/"):
        google_storage.put(name, b"")
    storage.delete_folder(google_storage.uri("f"))
    assert storage.list_names(google_storage.uri("")) == ["fg"]


def test_fingerprint_changes_with_the_content(storage_server: StorageServer) -> None:
    storage_server.put("x", b"one")
    size, checksum = storage.fingerprint(storage_server.uri("x"))
    storage_server.put("x", b"two")
    assert size == 3
    assert storage.fingerprint(storage_server.uri("x"))[1] != checksum


def test_open_read_goes_to_any_place(root: str) -> None:
    uri = storage.join(root, "file")
    storage.write_bytes(uri, b"0123456789")
    with storage.open_read(uri) as stream:
        stream.seek(7)
        assert stream.read() == b"789"
        stream.seek(2)
        assert stream.read(3) == b"234"


@pytest.mark.parametrize(
    ("uri", "names", "joined"),
    [("/", ["a"], "/a"), ("a/", ["b", "c"], "a/b/c"), ("gs://b/x?e=1", ["y"], "gs://b/x/y?e=1"), ("file:///a", ["b"], "file:///a/b")],
)  # fmt: skip
def test_join_keeps_the_query_last(uri: str, names: list[str], joined: str) -> None:
    assert storage.join(uri, *names) == joined


@pytest.mark.parametrize(
    ("uri", "said"), [("hdfs://b/x", "hdfs:// is not supported"), ("gs:///x", "the bucket's name is missing")]
)
def test_exists_of_a_uri_that_cannot_be_says_why(uri: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        storage.exists(uri)


def test_file_uri_is_a_local_path(tmp_path: Path) -> None:
    storage.write_text((tmp_path / "with space").as_uri(), "x")
    assert (tmp_path / "with space").read_text() == "x"
    assert sys.modules.get("slipway.stores.storage") is storage


def test_write_new_replaces_nothing(tmp_path: Path, fault_proxy: FaultProxy) -> None:
    for uri in (str(tmp_path / "a" / "name.json"), fault_proxy.uri("a/name.json")):
        assert storage.write_new(uri, b"first")
        assert not storage.write_new(uri, b"second")
        assert storage.write_new(uri, b"first")  # it is there, as after a lost answer
        assert storage.read_bytes(uri) == b"first"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["name.json"]


def test_delete_file_leaves_its_neighbours(root: str) -> None:
    for name in ("a/b", "a/bc"):
        storage.write_text(storage.join(root, name), "x")
    storage.delete_file(storage.join(root, "a", "b"))
    storage.delete_file(storage.join(root, "a", "b"))
    assert [file.name for file in storage.list_files(root)] == ["a/bc"]
