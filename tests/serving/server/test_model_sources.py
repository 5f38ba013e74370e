"""Base paths that cannot be read: one line says why, in the log and where a client asks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.protocol.errors import ServingError
from serving.protocol.protos import model_server_config_pb2
from serving.server.model_sources import BasePaths, StoreModels, models_of
from slipway.errors import ConfigError, StoreError
from slipway.stores.model_store import open_store
from tests.serving.server.managing import config, managing
from tests.serving.server.versions_on_disk import VersionsOnDisk

ACCESS_ERROR = "FileSystemStoragePathSource encountered a filesystem access error: "


def missing(base: Path) -> str:
    base.rmdir()
    return f"Could not find base path {base} for servable m"


def a_file(base: Path) -> str:
    base.rmdir()
    base.write_text("no folder")
    return f"{base}; Not a directory"


@pytest.mark.parametrize("spoil", [missing, a_file])
def test_base_path_that_cannot_be_read_is_described_as_by_tensorflow_serving(
    versions: VersionsOnDisk, spoil: Callable[[Path], str]
) -> None:
    why = spoil(versions.base)
    source = config(versions.base)
    assert source.poll() == {"m": None}
    assert source.describe("m") == ACCESS_ERROR + why


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_base_path_that_fails_while_it_is_served_is_logged_once(
    versions: VersionsOnDisk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """The tests may run as root, to whom the kernel refuses nothing."""

    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    versions.add(1)
    source = config(versions.base)
    good = source.poll()
    with monkeypatch.context() as denied:
        denied.setattr(Path, "iterdir", refuse)
        assert [source.poll() for _ in range(3)] == [{"m": None}] * 3
        assert source.describe("m") == f"{ACCESS_ERROR}{versions.base}; {os.strerror(number)}"
    assert source.poll() == good
    assert caplog.messages == [f"{ACCESS_ERROR}{versions.base}; {os.strerror(number)}"]


def test_base_path_that_is_a_uri_is_refused_with_the_flag_that_reads_one() -> None:
    with pytest.raises(ConfigError, match=r"gs://b/m: .*--store"):
        BasePaths.single("m", "gs://b/m")
    listed = model_server_config_pb2.ModelServerConfig()
    listed.model_config_list.config.add(name="m", base_path="gs://b/m")
    with pytest.raises(ServingError, match=r"gs://b/m: .*--store"):
        models_of(listed)


def test_store_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    store = open_store("gs://anonymous@b/models?scheme=http&endpoint_override=127.0.0.1:1&retry_limit_seconds=0.1")
    for names in ([], ["m"]):
        source = StoreModels(store, names, tmp_path)
        with pytest.raises(StoreError, match="out of reach") as caught, managing(source):
            pass
        assert "\n" not in str(caught.value)


def test_store_that_fails_while_it_is_served_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object, model: str) -> None:
        raise StoreError(f"{model} is out of reach")

    monkeypatch.setattr("slipway.stores.model_store.ModelStore.stages", refuse)
    source = StoreModels(open_store(str(tmp_path)), ["m"], tmp_path)
    assert [source.poll() for _ in range(3)] == [{"m": None}] * 3
    assert caplog.messages == ["m stays as it is: m is out of reach"]
    assert source.describe("m") == "m is out of reach"
