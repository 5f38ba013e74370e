"""A store in a bucket, on Google's emulator, for which the proxy keeps the preconditions, and on S3."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slipway.errors import ModelQuarantinedError, StoreError
from slipway.stores import storage
from slipway.stores.model_store import digest_model, open_store
from slipway.stores.model_store.remote import RemoteModelStore
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.storage_server import StorageServer
from tests.model_files import provenance, write_model

NewModel = Callable[[int], Path]


@pytest.fixture
def store(fault_proxy: FaultProxy) -> RemoteModelStore:
    store = open_store(fault_proxy.uri("store"))
    assert isinstance(store, RemoteModelStore)
    return store


def objects(server: StorageServer, folder: str = "store/taxi") -> set[str]:
    return {file.name for file in storage.list_files(server.uri(folder))}


def test_push_version_is_what_tensorflow_serving_polls(
    store: RemoteModelStore, new_model: NewModel, storage_server: StorageServer, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    model = new_model(1)
    version = store.push(model, provenance()).version
    names = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    seen = {name for name in objects(storage_server) if not name.startswith(".")}
    assert seen == {f"{version.number}/{name}" for name in names}
    assert version.uri == storage.join(store.uri, "taxi", str(version.number))
    assert digest_model(store.fetch(version, tmp_path / "fetched")) == digest_model(model)
    written = [request for request in fault_proxy.requests if request.startswith("POST")]
    last = [name.rpartition("/")[2] for name in written[-2:]]
    assert last == ["saved_model.pb", ".state.json"]
    if written[0].endswith(".slipway-probe"):  # S3's, at the first write with a condition
        written = [request for request in written if not request.endswith(".slipway-probe")]
    assert written[0] == f"POST store/taxi/.claims/{version.number}"
    assert written[-3] == f"POST store/taxi/.manifests/{version.number}.json"


def test_push_folder_whose_name_is_no_version_does_not_count(store: RemoteModelStore, new_model: NewModel) -> None:
    for name in ("20261126140500123456", "9" * 30):
        storage.write_text(storage.join(store.uri, "taxi", name, "saved_model.pb"), "x")
    number = store.push(new_model(1), provenance()).version.number

    assert number < 2**32
    assert [version.number for version in store.versions("taxi")] == [number]


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


def test_push_same_bytes_again_is_the_same_version(store: RemoteModelStore, new_model: NewModel) -> None:
    first, again = (store.push(new_model(1), provenance()) for _ in range(2))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.version == first.version


def test_push_clock_that_goes_back_still_grows(fault_proxy: FaultProxy, new_model: NewModel) -> None:
    late = RemoteModelStore(fault_proxy.uri("store"), lambda: 9_000.0).push(new_model(1), provenance())
    early = RemoteModelStore(fault_proxy.uri("store"), lambda: 10.0).push(new_model(2), provenance())
    assert (late.version.number, early.version.number) == (9_001, 9_002)


def test_push_two_pushers_at_once_get_a_number_each(fault_proxy: FaultProxy, tmp_path: Path) -> None:
    uri, pushers = fault_proxy.uri("store", retry_seconds=20), 4

    def push(seed: int) -> int:
        model = write_model(tmp_path / f"at-once-{seed}", seed)
        return RemoteModelStore(uri, lambda: 50.0).push(model, provenance()).version.number

    with ThreadPoolExecutor(pushers) as pool:
        numbers = list(pool.map(push, range(pushers)))
    store = RemoteModelStore(uri)
    assert sorted(numbers) == [51, 52, 53, 54]
    assert [store.verify(version) for version in store.versions("taxi")] == [[]] * pushers
    assert sorted(event.version for event in store.history("taxi")) == sorted(numbers)


def test_promote_promoters_at_once_each_count(
    store: RemoteModelStore, fault_proxy: FaultProxy, new_model: NewModel
) -> None:
    numbers = [store.push(new_model(seed), provenance()).version.number for seed in range(3)]
    uri = fault_proxy.uri("store", retry_seconds=20)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: RemoteModelStore(uri).promote("taxi", number), numbers))
    promotions = [event for event in store.history("taxi") if event.action == "promote"]
    assert sorted(event.version for event in promotions) == numbers
    # Each saw the one before it: no promotion was made over a state that was no longer there.
    assert [event.previous for event in promotions] == [None, *(event.version for event in promotions[:-1])]
    assert store.stage("taxi", promotions[-1].version) == "stable"


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


def test_verify_names_each_object_that_differs(
    store: RemoteModelStore, new_model: NewModel, storage_server: StorageServer
) -> None:
    version = store.push(new_model(1), provenance()).version
    storage_server.put(f"store/taxi/{version.number}/fingerprint.pb", b"other")
    storage_server.put(f"store/taxi/{version.number}/more", b"")
    problems = store.verify(version)
    assert len(problems) == 2
    assert "fingerprint.pb was changed: 5 bytes" in problems[0]
    assert "more is not part of the version" in problems[1]
    with pytest.raises(StoreError, match=r"is not what was pushed: .*fingerprint.pb was changed"):
        store.promote("taxi", version.number)


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
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [str(version.number)]


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
