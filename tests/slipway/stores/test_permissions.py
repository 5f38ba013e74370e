"""Written files get the permissions that the umask leaves: a server under another user can read them, or nobody can."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.stores import storage
from slipway.stores.model_store import open_store
from slipway.stores.module_store import publish_module
from tests.fakes.fault_proxy import FaultProxy
from tests.model_files import provenance, write_model


@pytest.fixture(params=[0o022, 0o002, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def check(folder: Path, umask: int) -> None:
    found = list(folder.rglob("*"))
    assert found
    for path in found:
        allowed = 0o777 if path.is_dir() else 0o666
        assert oct(stat.S_IMODE(path.stat().st_mode)) == oct(allowed & ~umask), path


def test_files_by_uri(umask: int, tmp_path: Path, fault_proxy: FaultProxy) -> None:
    storage.write_text(fault_proxy.uri("x"), "x")
    storage.write_text(str(tmp_path / "a" / "written"), "x")
    storage.copy(str(tmp_path / "a" / "written"), str(tmp_path / "a" / "copied"))
    storage.copy(fault_proxy.uri("x"), str(tmp_path / "a" / "downloaded"))
    storage.copy_folder(str(tmp_path / "a"), str(tmp_path / "b"))
    check(tmp_path, umask)


@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_versions_of_a_model(umask: int, kind: str, tmp_path: Path, fault_proxy: FaultProxy) -> None:
    store = open_store(str(tmp_path / "store") if kind == "local" else fault_proxy.uri("store"))
    version = store.push(write_model(tmp_path / "model"), provenance()).version
    store.promote("taxi", version.number)
    store.fetch(version, tmp_path / "cache")
    check(tmp_path, umask)


def test_published_modules(umask: int, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "model.py").write_text("x = 1\n")
    publish_module(tmp_path / "tiny", tmp_path / "root")
    check(tmp_path, umask)
