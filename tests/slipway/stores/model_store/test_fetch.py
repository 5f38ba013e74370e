"""A version comes whole and verified to a folder, from every kind of store, or does not appear there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.stores import storage
from slipway.stores.model_store import LocalModelStore, Version, digest_model, fetch, open_store
from slipway.stores.model_store.fetch import fetch_version
from tests.fakes.fault_proxy import FaultProxy
from tests.model_files import provenance
from tests.small_disk import mount_small_disk

NewModel = Callable[[int], Path]
DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture
def version(fault_proxy: FaultProxy, new_model: NewModel) -> Version:
    return open_store(fault_proxy.uri("store", retry_seconds=0.3)).push(new_model(1), provenance()).version


def seen(folder: Path) -> list[str]:
    """What a server that polls the folder sees."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def test_fetched_version_is_what_was_pushed_and_stays(
    version: Version, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "taxi"
    target = fetch_version(version, folder)
    assert (target, seen(folder)) == (folder / str(version.number), [str(version.number)])
    assert digest_model(target) == version.manifest.model_digest
    fault_proxy.requests.clear()
    assert fetch_version(version, folder) == target
    assert fault_proxy.requests == []
    (target / "fingerprint.pb").write_bytes(b"")
    fetch_version(version, folder)
    assert digest_model(target) == version.manifest.model_digest


def test_local_store_is_copied(new_model: NewModel, tmp_path: Path) -> None:
    version = LocalModelStore(tmp_path / "store").push(new_model(1), provenance()).version
    assert digest_model(fetch_version(version, tmp_path / "to")) == version.manifest.model_digest


def test_interrupted_fetch_goes_on_with_what_is_missing(
    version: Version, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fault = fault_proxy.inject("reset", on=f"GET .*{DATA}")
    with pytest.raises(StoreError, match="cannot read"):
        fetch_version(version, tmp_path / "to")
    assert seen(tmp_path / "to") == []
    partial = tmp_path / "to" / f".fetching-{version.number}"
    first = version.manifest.files[0].path
    (partial / first).parent.mkdir(parents=True, exist_ok=True)
    storage.copy(storage.join(version.uri, first), str(partial / first))
    (partial / "left-over").write_text("x")
    fault_proxy.faults.remove(fault)
    fault_proxy.requests.clear()
    assert digest_model(fetch_version(version, tmp_path / "to")) == version.manifest.model_digest
    assert not [request for request in fault_proxy.requests if first in request]
    assert not partial.exists()


def test_interrupted_file_goes_on_after_the_bytes_that_are_there(
    version: Version, fault_proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_PART_BYTES", 1_000)
    monkeypatch.setattr(fetch, "_WORKERS", 1)
    fault = fault_proxy.inject("reset", on=f"GET .*{DATA}", after=3)  # a look at it, and two of its five parts
    with pytest.raises(StoreError, match="cannot read"):
        fetch_version(version, tmp_path / "to")
    partial = tmp_path / "to" / f".fetching-{version.number}" / DATA
    there = partial.stat().st_size
    assert 0 < there < 5_000
    fault_proxy.faults.remove(fault)
    fault_proxy.requests.clear()
    assert digest_model(fetch_version(version, tmp_path / "to")) == version.manifest.model_digest
    assert len([request for request in fault_proxy.requests if DATA in request]) == 1 + (5_000 - there) // 1_000


def test_killed_fetch_goes_on_after_the_bytes_that_are_there(
    version: Version, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fault = fault_proxy.inject("stall", on=f"GET .*{DATA}", after=3)
    program = (
        "import sys; from pathlib import Path\n"
        "from slipway.stores.model_store import fetch, open_store\n"
        "fetch._PART_BYTES, fetch._WORKERS = 1_000, 1\n"
        "fetch.fetch_version(open_store(sys.argv[1]).version('taxi', int(sys.argv[2])), Path(sys.argv[3]))\n"
    )
    store = fault_proxy.uri("store", retry_seconds=20)
    command = [sys.executable, "-c", program, store, str(version.number), str(tmp_path / "to")]
    partial = tmp_path / "to" / f".fetching-{version.number}" / DATA
    with subprocess.Popen(command) as process:
        until = time.monotonic() + 60
        while not (partial.exists() and partial.stat().st_size) and time.monotonic() < until:
            time.sleep(0.02)
        process.kill()
    assert seen(tmp_path / "to") == []
    assert partial.stat().st_size in (1_000, 2_000)
    fault_proxy.faults.remove(fault)
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
    assert digest_model(tmp_path / "to" / str(version.number)) == version.manifest.model_digest


def test_bytes_that_are_not_the_files_come_anew(version: Version, tmp_path: Path) -> None:
    partial = tmp_path / "to" / f".fetching-{version.number}" / DATA
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"?" * 100)
    with pytest.raises(StoreError, match=rf"{DATA} was changed"):
        fetch_version(version, tmp_path / "to")
    assert digest_model(fetch_version(version, tmp_path / "to")) == version.manifest.model_digest


def test_missing_object_and_wrong_bytes_are_named(version: Version, tmp_path: Path) -> None:
    uri = storage.join(version.uri, DATA)
    content = storage.read_bytes(uri)
    storage.write_bytes(uri, content[:-1] + b"?")
    with pytest.raises(StoreError, match=rf"is not what was pushed: .*{DATA} was changed"):
        fetch_version(version, tmp_path / "to")
    storage.delete_folder(storage.join(version.uri, "variables"))
    with pytest.raises(StoreError, match=rf"{version.number}/variables/.*: cannot read: there is no such file"):
        fetch_version(version, tmp_path / "to")
    assert seen(tmp_path / "to") == []


def test_account_without_the_right_to_read_is_told_so(
    version: Version, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fault_proxy.inject("status", status=403, on="GET ")
    with pytest.raises(StoreError, match=r"cannot read: the account lacks (s3:GetObject|storage\.objects\.get)"):
        fetch_version(version, tmp_path / "to")


def test_full_disk_is_named_and_shows_no_version(version: Version, tmp_path: Path) -> None:
    with mount_small_disk(tmp_path / "disk", "4k") as disk:
        with pytest.raises(StoreError, match=r"on this machine: .*No space left|cannot be fetched to .*No space left"):
            fetch_version(version, disk / "to")
        assert seen(disk / "to") == []
        shutil.rmtree(disk / "to", ignore_errors=True)
