"""A store in a bucket, on Google's emulator, for which the proxy keeps the preconditions, and on S3."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.errors import ModelQuarantinedError, StoreError
from slipway.stores import storage
from slipway.stores.model_store import digest_model, open_store
from slipway.stores.model_store.remote import RemoteModelStore
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.storage_server import StorageServer
from tests.model_files import provenance

NewModel = Callable[[int], Path]


@pytest.fixture
def store(fault_proxy: FaultProxy) -> RemoteModelStore:
    store = open_store(fault_proxy.uri("store"))
    assert isinstance(store, RemoteModelStore)
    return store


def objects(server: StorageServer, folder: str = "store/taxi") -> set[str]:
    return {file.name for file in storage.list_files(server.uri(folder))}


def test_push_writes_the_claim_first_and_what_makes_a_version_last(
    store: RemoteModelStore, new_model: NewModel, fault_proxy: FaultProxy
) -> None:
    version = store.push(new_model(1), provenance()).version
    written = [request for request in fault_proxy.requests if request.startswith("POST")]
    last = [name.rpartition("/")[2] for name in written[-2:]]
    assert last == ["saved_model.pb", ".state.json"]
    if written[0].endswith(".slipway-probe"):  # S3's, at the first write with a condition
        written = [request for request in written if not request.endswith(".slipway-probe")]
    assert written[0] == f"POST store/taxi/.claims/{version.number}"
    assert written[-3] == f"POST store/taxi/.manifests/{version.number}.json"


def test_push_large_file_goes_up_in_pieces_and_comes_down_whole(
    store: RemoteModelStore, new_model: NewModel, tmp_path: Path
) -> None:
    model = new_model(1)
    (model / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(range(256)) * 40_000)
    version = store.push(model, provenance()).version
    assert store.verify(version) == []
    assert digest_model(store.fetch(version, tmp_path / "fetched")) == digest_model(model)


def test_versions_stages_and_history_are_those_of_a_local_store(store: RemoteModelStore, new_model: NewModel) -> None:
    assert (store.models(), store.versions("taxi"), store.production("taxi"), store.history("taxi")) == (
        [],
        [],
        None,
        [],
    )
    one, two, three = (store.push(new_model(seed), provenance()).version.number for seed in (1, 2, 3))
    store.push(new_model(1), provenance("iris"))
    assert store.models() == ["iris", "taxi"]
    store.promote("taxi", two, why="first", who="ci")
    store.mark_canary("taxi", three)
    store.promote("taxi", three, why="fine", who="ci")
    event = store.rollback("taxi", why="p99", who="ann")
    assert (event.version, event.previous, event.who, event.why) == (two, three, "ann", "p99")
    production = store.production("taxi")
    assert production is not None
    assert production.number == two
    assert store.stages("taxi") == {one: "candidate", two: "stable", three: "quarantined"}
    assert [event.action for event in store.history("taxi")] == ["push"] * 3 + [
        "promote",
        "canary",
        "promote",
        "rollback",
    ]
    with pytest.raises(ModelQuarantinedError, match="p99"):
        store.push(new_model(3), provenance())


def test_prune_deletes_the_file_first_without_which_nothing_loads(
    store: RemoteModelStore, new_model: NewModel, storage_server: StorageServer, fault_proxy: FaultProxy
) -> None:
    numbers = [store.push(new_model(seed), provenance()).version.number for seed in range(4)]
    fault_proxy.requests.clear()
    assert store.prune("taxi", keep=1, who="ann") == numbers[:1]
    deleted = [request for request in fault_proxy.requests if request.startswith("DELETE")]
    assert deleted[0] == f"DELETE store/taxi/{numbers[0]}/saved_model.pb"
    assert len(deleted) == 7  # a baseline is looked for, too
    assert not [name for name in objects(storage_server) if name.startswith(f"{numbers[0]}/")]
    assert f".manifests/{numbers[0]}.json" in objects(storage_server)
    assert [version.number for version in store.versions("taxi")] == numbers[1:]
    assert store.history("taxi")[-1].action == "delete"


def test_fetch_intact_version_is_not_fetched_again_and_a_damaged_copy_is(
    store: RemoteModelStore, new_model: NewModel, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    version = store.push(new_model(1), provenance()).version
    folder = store.fetch(version, tmp_path / "cache")
    assert folder == tmp_path / "cache" / str(version.number)
    fault_proxy.requests.clear()
    assert store.fetch(version, tmp_path / "cache") == folder
    assert fault_proxy.requests == []
    (folder / "fingerprint.pb").write_bytes(b"")
    store.fetch(version, tmp_path / "cache")
    assert digest_model(folder) == version.manifest.model_digest
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name[0] != "."] == [str(version.number)]


def test_empty_objects_that_stand_for_folders_are_no_versions(
    store: RemoteModelStore, new_model: NewModel, storage_server: StorageServer
) -> None:
    for folder in ("", ".claims/", "7/"):  # as a console writes them
        storage_server.put(f"store/taxi/{folder}", b"")
    version = store.push(new_model(1), provenance()).version
    assert [one.number for one in store.versions("taxi")] == [version.number]
    assert store.models() == ["taxi"]


def test_store_at_the_root_of_a_bucket_works(fault_proxy: FaultProxy, new_model: NewModel) -> None:
    store = RemoteModelStore(fault_proxy.uri("").replace("/?", "?"))
    version = store.push(new_model(1), provenance()).version
    assert store.models() == ["taxi"]
    assert store.version("taxi", version.number) == version


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs://", "the bucket's name is missing"),
        ("gs://secret-token@bucket/store", "keep secrets out of URIs"),
        ("s3://secret-token@bucket/store", "keep secrets out of URIs"),
        ("hdfs://bucket/store", "hdfs:// is not supported; use a local path, or one of file://, gs://, s3://"),
        ("/gcs/bucket/store", "name the store gs://bucket/store"),
    ],
)
def test_open_store_wrong_uri_is_refused(uri: str, message: str) -> None:
    with pytest.raises(StoreError, match=re.escape(message)):
        open_store(uri)
