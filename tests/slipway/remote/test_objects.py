"""What every kind of remote store does, on Google's emulator, for which the proxy keeps preconditions, and on S3."""

from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.remote.objects import ABSENT, check_inside, open_objects
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.s3_server import S3Server
from tests.fakes.storage_server import StorageServer
from tests.small_disk import mount_small_disk


def test_put_holds_to_the_generation_that_was_read(fault_proxy: FaultProxy) -> None:
    objects = open_objects(fault_proxy.uri("store"))
    assert objects.read_generation("state") is None
    assert objects.put("state", b"1", ABSENT)
    assert not objects.put("state", b"2", ABSENT)
    content, generation = objects.read_generation("state") or (b"", ABSENT)
    assert (content, generation != ABSENT) == (b"1", True)
    assert objects.put("state", b"3", generation)
    assert not objects.put("state", b"4", generation)
    assert objects.read("state") == b"3"


def test_put_page_has_the_type_with_which_a_browser_shows_it(storage_server: StorageServer | S3Server) -> None:
    open_objects(storage_server.uri("runs")).put("report.html", b"<p>")
    assert storage_server.content_type("runs/report.html").startswith("text/html")


def test_ranges_are_read_where_they_are_asked_for(fault_proxy: FaultProxy) -> None:
    objects = open_objects(fault_proxy.uri("store"))
    content = bytes(range(256)) * 16_384  # 4 MiB
    objects.put("big", content)
    found = objects.find("big")
    assert found is not None
    with objects.open(found) as stream:
        stream.seek(-8, 2)
        assert stream.read() == content[-8:]
        stream.seek(1_000_001)
        assert stream.read(10) == content[1_000_001:1_000_011]
    assert objects.read_range(found, 5, 7) == content[5:7]


def test_range_of_an_object_that_was_replaced_is_refused(fault_proxy: FaultProxy) -> None:
    objects = open_objects(fault_proxy.uri("store"))
    objects.put("x", b"one")
    found = objects.find("x")
    assert found is not None
    objects.put("x", b"two")
    with pytest.raises(StoreError, match=r"//bucket/store/x: cannot read: it was replaced"):
        objects.read_range(found, 0, 2)


def test_names_are_those_directly_in_the_folder(fault_proxy: FaultProxy) -> None:
    objects = open_objects(fault_proxy.uri("store"))
    for name in ("a/1", "a/2/3", "ab/4"):
        objects.put(name, b"")
    assert objects.names("") == ["a", "ab"]
    assert objects.names("a/") == ["1", "2"]
    assert sorted(objects.objects("a/")) == ["a/1", "a/2/3"]


def test_name_that_leads_out_of_its_folder_is_refused() -> None:
    assert check_inside("a/b", "gs://bucket/x") == "a/b"
    for name in ("a/../../evil", "/etc/passwd"):
        with pytest.raises(StoreError, match=r"//bucket/x: .*leads out of this folder"):
            check_inside(name, "gs://bucket/x")


def test_download_to_a_full_disk_does_not_blame_the_network(fault_proxy: FaultProxy, tmp_path: Path) -> None:
    objects = open_objects(fault_proxy.uri("store"))
    objects.put("big", b"x" * (1 << 20))
    (tmp_path / "file").touch()
    with mount_small_disk(tmp_path / "disk", "512k") as disk:
        for target, problem in ((disk / "big", "No space left"), (tmp_path / "file/big", "exists|Not a directory")):
            with pytest.raises(StoreError, match=rf"//bucket/store/big: .*on this machine: .*({problem})"):
                objects.download([("big", target)])
    with pytest.raises(StoreError, match=r"//bucket/store/new: .*on this machine: .*No such file"):
        objects.upload([(tmp_path / "none", "new")])
