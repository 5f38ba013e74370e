"""Modules on Google Cloud Storage, behind a proxy that keeps preconditions and makes faults."""

import threading
from pathlib import Path

import pytest

from slipway.errors import ModuleDigestError, StoreError
from slipway.module_kit.loader import load_function
from slipway.stores import storage
from slipway.stores.module_store import is_published, locate_module, publish_module, read_files
from tests.fakes.fault_proxy import Fault, FaultProxy
from tests.fakes.storage_server import StorageServer

WRITES = "^POST "


def writes(proxy: FaultProxy) -> list[str]:
    return [request for request in proxy.requests if request.startswith("POST ")]


def test_publish_to_gs_and_load_from_there(module: Path, fault_proxy: FaultProxy) -> None:
    root = fault_proxy.uri("modules")
    published = publish_module(module, root)
    assert published == locate_module(module, root)
    assert published.uri.partition("?")[0].endswith(f"/modules/tiny/{published.digest}")
    assert load_function(published.preprocessing_uri, "preprocessing", "preprocessing_fn")({"x": 4}) == {"x": 8}
    assert load_function(published.model_uri, "model", "build_model")({}, {}) == 2


def test_publish_again_writes_nothing(module: Path, fault_proxy: FaultProxy) -> None:
    publish_module(module, fault_proxy.uri("modules"))
    before = len(writes(fault_proxy))
    publish_module(module, fault_proxy.uri("modules"))
    assert len(writes(fault_proxy)) == before > 0


def test_publish_edit_keeps_what_was_published_before(module: Path, fault_proxy: FaultProxy) -> None:
    old = publish_module(module, fault_proxy.uri("modules"))
    (module / "constants.py").write_text("SCALE = 5\n")
    new = publish_module(module, fault_proxy.uri("modules"))
    assert load_function(old.model_uri, "model", "build_model")({}, {}) == 2
    assert load_function(new.model_uri, "model", "build_model")({}, {}) == 5


@pytest.mark.parametrize("after", [0, 3, 10])
def test_publish_that_was_cut_off_is_completed_by_the_next(module: Path, fault_proxy: FaultProxy, after: int) -> None:
    root = fault_proxy.uri("modules", retry_seconds=0.2)
    fault_proxy.inject("status", status=503, on=WRITES, after=after)
    with pytest.raises(StoreError):
        publish_module(module, root)
    assert not is_published("tiny", read_files(module), root)
    fault_proxy.heal()
    publish_module(module, root)
    assert is_published("tiny", read_files(module), root)


def test_publish_answer_that_is_lost_makes_no_difference(module: Path, fault_proxy: FaultProxy) -> None:
    fault_proxy.inject("lost", on=WRITES, times=1)
    publish_module(module, fault_proxy.uri("modules"))
    assert is_published("tiny", read_files(module), fault_proxy.uri("modules"))


def test_publish_never_overwrites_what_somebody_changed(module: Path, fault_proxy: FaultProxy) -> None:
    root = fault_proxy.uri("modules")
    published = publish_module(module, root)
    edited = storage.join(published.uri, "model.py")
    storage.write_text(edited, "tampered = True\n")
    assert not is_published("tiny", read_files(module), root)
    with pytest.raises(StoreError, match=r"model\.py is not what was published under this digest.*delete (gs|s3)://"):
        publish_module(module, root)
    assert storage.read_text(edited) == "tampered = True\n"


def test_publish_never_overwrites_what_somebody_writes_meanwhile(
    module: Path, storage_server: StorageServer, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, hear = fault_proxy.uri("modules"), fault_proxy.fault

    def be_faster(request: str) -> Fault | None:
        method, _, name = request.partition(" ")
        if method == "POST" and name.endswith("/model.py"):
            storage_server.put(name, b"tampered = True\n")
        return hear(request)

    monkeypatch.setattr(fault_proxy, "fault", be_faster)
    with pytest.raises(StoreError, match=r"model\.py is not what was published under this digest"):
        publish_module(module, root)
    edited = storage.join(locate_module(module, root).uri, "model.py")
    assert storage.read_text(edited) == "tampered = True\n"


def test_publish_folder_with_an_object_too_many_is_refused(module: Path, fault_proxy: FaultProxy) -> None:
    root = fault_proxy.uri("modules")
    storage.write_text(storage.join(publish_module(module, root).uri, "extra.py"), "x = 1\n")
    with pytest.raises(StoreError, match=r"extra\.py is not what was published"):
        publish_module(module, root)


def test_publish_by_several_at_once_all_succeed(module: Path, fault_proxy: FaultProxy) -> None:
    root, failures = fault_proxy.uri("modules"), []

    def publish() -> None:
        try:
            publish_module(module, root)
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert is_published("tiny", read_files(module), root)


def test_load_from_gs_edited_object_is_refused(module: Path, fault_proxy: FaultProxy) -> None:
    published = publish_module(module, fault_proxy.uri("modules"))
    storage.write_text(storage.join(published.model_uri, "constants.py"), "SCALE = 6\n")
    with pytest.raises(ModuleDigestError):
        load_function(published.model_uri, "model", "build_model")
