"""A gs:// store whose network fails: at any request, for a while or for good."""

import itertools
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.stores import storage
from slipway.stores.model_store.manifest import Manifest, Version
from slipway.stores.model_store.remote import RemoteModelStore, Sums
from tests.fakes.fault_proxy import FaultProxy, Kind
from tests.fakes.storage_server import StorageServer
from tests.model_files import provenance

NewModel = Callable[[int], Path]

# The library does not close the connection of a download that is refused; the collector does, in fault_proxy's end.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


def names(server: StorageServer, model: str = "taxi") -> set[str]:
    return {file.name for file in storage.list_files(server.uri(f"store/{model}"))}


def patient(proxy: FaultProxy, clock: float = 20.0) -> RemoteModelStore:
    return RemoteModelStore(proxy.uri("store", retry_seconds=20), lambda: clock)


def hasty(proxy: FaultProxy, clock: float = 50.0) -> RemoteModelStore:
    """Gives up soon, for faults that do not end."""
    return RemoteModelStore(proxy.uri("store", retry_seconds=0.2), lambda: clock)


def whole(proxy: FaultProxy, model: str = "taxi") -> list[Version]:
    """All visible versions; each is what was pushed."""
    proxy.heal()
    store = patient(proxy)
    versions = store.versions(model)
    assert [store.verify(version) for version in versions] == [[]] * len(versions)
    return versions


@pytest.mark.parametrize(
    ("kind", "status"),
    [("status", 503), ("status", 429), ("reset", 0), ("lost", 0), ("cut", 0)],
)
def test_push_and_promote_outlive_a_fault_in_every_kind_of_request(
    fault_proxy: FaultProxy, new_model: NewModel, kind: Kind, status: int
) -> None:
    for on in (r"\.state\.json", r"\?.*prefix=", "POST .*variables", r"\.manifests", "POST .*saved_model", r"\.claims"):
        fault_proxy.inject(kind, status=status, on=on, times=1)
    store = patient(fault_proxy)
    version = store.push(new_model(1), provenance()).version
    fault_proxy.inject(kind, status=status, on=r"POST .*\.state\.json", times=1)
    assert store.promote("taxi", version.number).action == "promote"
    assert [found.number for found in whole(fault_proxy)] == [version.number]
    assert [event.action for event in store.history("taxi")] == ["push", "promote"]


def test_rollback_whose_answer_is_lost_happens_once(fault_proxy: FaultProxy, new_model: NewModel) -> None:
    store = patient(fault_proxy)
    one, two, three = (store.push(new_model(seed), provenance()).version.number for seed in range(3))
    for number in (one, two, three):
        store.promote("taxi", number)
    fault_proxy.inject("lost", on=r"POST .*\.state\.json", times=1)
    event = store.rollback("taxi")
    assert (event.version, event.previous) == (two, three)
    assert store.stages("taxi") == {one: "retired", two: "stable", three: "quarantined"}
    assert [event.action for event in store.history("taxi")].count("rollback") == 1


def test_push_503_storm_is_a_clear_error_and_nothing_is_visible(fault_proxy: FaultProxy, new_model: NewModel) -> None:
    fault_proxy.inject("status", status=503, on="POST .*variables.index")
    with pytest.raises(
        StoreError, match=r"//bucket/store/taxi/51/variables/variables.index: cannot write, tried for 0.2 s: .*the "
        r"proxy says so.*down or out of reach"
    ):  # fmt: skip
        hasty(fault_proxy).push(new_model(1), provenance())
    assert whole(fault_proxy) == []


def test_push_to_a_full_store_leaves_nothing_and_the_next_is_whole(
    fault_proxy: FaultProxy, new_model: NewModel
) -> None:
    fault_proxy.inject("status", status=507, on="POST .*variables.index")
    with pytest.raises(StoreError, match=r"/51/variables/variables.index: cannot write"):
        hasty(fault_proxy).push(new_model(1), provenance())
    assert whole(fault_proxy) == []
    pushed = patient(fault_proxy).push(new_model(1), provenance())
    assert [version.number for version in whole(fault_proxy)] == [pushed.version.number]


@pytest.mark.parametrize(
    ("storage_server", "stride"),
    [("gs", 17), *(pytest.param(one, 1, marks=pytest.mark.slow) for one in ("gs", "s3"))],
    indirect=["storage_server"],
)
def test_push_cut_off_at_every_request_leaves_no_half_version(
    fault_proxy: FaultProxy, new_model: NewModel, storage_server: StorageServer, stride: int
) -> None:
    """From the n-th request on nothing passes: to the store this is the death of the pusher."""
    for cut in itertools.count(step=stride):
        model = f"taxi{cut}"
        patient(fault_proxy, 10).push(new_model(0), provenance(model))
        fault = fault_proxy.inject("reset" if cut // stride % 2 else "lost", after=cut)
        with suppress(StoreError):
            hasty(fault_proxy, 50).push(new_model(1), provenance(model))
        # Where only the answer to the last file was lost the version is there, and whole.
        seen = [version.number for version in whole(fault_proxy, model)]
        assert seen in ([11], [11, 51])
        # A day later nobody is at work, and the next push clears away what was left.
        fault_proxy.make_older(rf"{model}/\.claims/51$", 90_000)
        patient(fault_proxy, 100).push(new_model(2), provenance(model))
        data = {name.partition("/")[0] for name in names(storage_server, model) if name[0].isdigit()}
        assert data == {*map(str, seen), "101"}
        if fault.seen <= cut:
            break
    assert cut > 15


def test_push_whose_last_answer_is_lost_for_good_is_whole_and_the_same_push_finds_it(
    fault_proxy: FaultProxy, new_model: NewModel
) -> None:
    fault_proxy.inject("lost", on="POST .*saved_model.pb", times=1)
    fault_proxy.inject("reset", on="POST .*saved_model.pb")
    pushed = hasty(fault_proxy, 50).push(new_model(1), provenance())
    assert (pushed.version.number, pushed.is_new) == (51, True)
    assert [version.number for version in whole(fault_proxy)] == [51]
    assert not patient(fault_proxy).push(new_model(1), provenance()).is_new


def test_push_robbed_of_its_data_while_it_slept_is_taken_back(
    fault_proxy: FaultProxy, new_model: NewModel, storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = patient(fault_proxy, 50)
    publish = store._publish

    def asleep(source: Path, manifest: Manifest, sums: Sums) -> None:
        storage.delete_folder(storage_server.uri("store/taxi/51/variables"))
        publish(source, manifest, sums)

    monkeypatch.setattr(store, "_publish", asleep)
    with pytest.raises(StoreError, match=r"taxi/51/ does not hold .*: variables/variables.data.*run again"):
        store.push(new_model(1), provenance())
    assert names(storage_server) == {".claims/51"}


def test_push_version_whose_manifest_is_lost_is_not_taken_for_a_dead_push(
    fault_proxy: FaultProxy, new_model: NewModel, storage_server: StorageServer
) -> None:
    number = patient(fault_proxy).push(new_model(1), provenance()).version.number
    storage.delete_folder(storage_server.uri("store/taxi/.manifests"))
    fault_proxy.make_older(rf"\.claims/{number}$", 90_000)
    patient(fault_proxy).push(new_model(2), provenance())
    assert f"{number}/saved_model.pb" in names(storage_server)


def test_push_killed_before_saved_model_is_invisible_and_is_cleaned_a_day_later_only(
    fault_proxy: FaultProxy, new_model: NewModel, storage_server: StorageServer
) -> None:
    fault_proxy.inject("reset", on="POST .*saved_model.pb")
    fault_proxy.inject("reset", on="DELETE")
    with pytest.raises(StoreError, match="cannot write"):
        hasty(fault_proxy, 50).push(new_model(1), provenance(), "what its rows looked like")
    data = {"51/fingerprint.pb", "51/variables/variables.index"}
    left = {*data, ".manifests/51.json", ".baselines/51.json", ".claims/51"}
    assert left <= names(storage_server)
    assert whole(fault_proxy) == []

    today = patient(fault_proxy)
    today.push(new_model(2), provenance())
    assert left <= names(storage_server)

    fault_proxy.make_older(r"\.claims/51$", 90_000)
    number = today.push(new_model(3), provenance()).version.number
    assert left & names(storage_server) == {".claims/51"}
    assert number > 51
    assert len(whole(fault_proxy)) == 2


def test_push_that_takes_too_long_gives_up_before_others_take_it_for_dead(
    fault_proxy: FaultProxy, new_model: NewModel, storage_server: StorageServer
) -> None:
    fault_proxy.make_older(r"\.claims/51$", 45_000)
    with pytest.raises(StoreError, match=r"the upload took 45,\d\d\d s, too long"):
        patient(fault_proxy, 50).push(new_model(1), provenance())
    assert {name for name in names(storage_server) if not name.startswith(".claims")} == set()


def test_prune_cut_off_at_every_request_leaves_no_half_version(
    fault_proxy: FaultProxy, new_model: NewModel, storage_server: StorageServer
) -> None:
    store = hasty(fault_proxy)
    for seed in range(4):
        patient(fault_proxy, 50.0 + seed).push(new_model(seed), provenance())
    kept = {51, 52, 53, 54}
    for cut in itertools.count(step=5):
        fault_proxy.inject("lost", after=cut)
        try:
            store.prune("taxi", keep=0)
        except StoreError:
            left = {version.number for version in whole(fault_proxy)}
            assert left in (kept, {53, 54})
        else:
            break
    assert {version.number for version in whole(fault_proxy)} == {53, 54}
    assert [event.version for event in patient(fault_proxy).history("taxi") if event.action == "delete"] == [51, 52]
    assert cut > 5
    assert {name.partition("/")[0] for name in names(storage_server) if name[0].isdigit()} == {"53", "54"}


def test_fetch_slow_body_comes_through_and_a_stalled_one_ends(
    fault_proxy: FaultProxy, new_model: NewModel, tmp_path: Path
) -> None:
    version = patient(fault_proxy).push(new_model(1), provenance()).version
    fault_proxy.inject("slow", on="GET .*variables.data", times=1)
    assert patient(fault_proxy).fetch(version, tmp_path / "slow").is_dir()
    store = hasty(fault_proxy)
    fault_proxy.inject("stall", on="GET .*variables.data")
    with pytest.raises(StoreError, match=r"variables.data.*cannot read, tried for 0.2 s"):
        store.fetch(store.version("taxi", version.number), tmp_path / "stalled")
    assert not (tmp_path / "stalled" / str(version.number)).exists()


def test_fetch_body_cut_in_the_middle_is_read_on(fault_proxy: FaultProxy, new_model: NewModel, tmp_path: Path) -> None:
    version = patient(fault_proxy).push(new_model(1), provenance()).version
    fault_proxy.inject("cut", on="GET .*variables.data", times=2)
    assert patient(fault_proxy).fetch(version, tmp_path / "cut").is_dir()


def test_fetch_byte_that_changed_on_the_way_is_refused(
    fault_proxy: FaultProxy, new_model: NewModel, tmp_path: Path
) -> None:
    version = patient(fault_proxy).push(new_model(1), provenance()).version
    fault_proxy.inject("corrupt", on="GET .*variables.data", after=1)  # a look at it
    with pytest.raises(StoreError, match=r"is not what was pushed: .*variables.data.* was changed"):
        hasty(fault_proxy).fetch(version, tmp_path / "corrupt")
    assert not (tmp_path / "corrupt" / str(version.number)).exists()


@pytest.mark.parametrize(
    ("status", "on", "google", "s3"),
    [
        (
            403,
            "POST",
            r"/store/taxi/\.claims/51: cannot write: the account lacks storage.objects.create",
            r"cannot write: the account lacks s3:PutObject: AccessDenied: .*on the bucket bucket",
        ),
        (
            403,
            "GET",
            r"cannot read: the account lacks storage.objects.get: .*roles/storage.objectUser on the bucket",
            r"cannot read: the account lacks s3:GetObject: AccessDenied: .*on the bucket bucket",
        ),
        (
            401,
            "GET",
            r"no valid Google credentials: .*`gcloud auth application-default login`",
            r"no valid S3 credentials: InvalidToken: .*AWS_ACCESS_KEY_ID",
        ),
        (404, "prefix=", *["cannot list: there is no bucket 'bucket'; create it, or correct the URI"] * 2),
        (400, "POST", *["cannot write.*the proxy says so"] * 2),
    ],
)
def test_push_refused_by_the_store_names_the_fix(
    fault_proxy: FaultProxy, new_model: NewModel, status: int, on: str, google: str, s3: str
) -> None:
    fault_proxy.inject("status", status=status, on=on)
    with pytest.raises(StoreError, match=s3 if fault_proxy.uri("").startswith("s3:") else google):
        hasty(fault_proxy).push(new_model(1), provenance())
    assert whole(fault_proxy) == []


@pytest.mark.parametrize("bucket", ["gs://anonymous@bucket", "s3://anonymous@bucket"])
def test_store_nothing_listens_says_so(bucket: str) -> None:
    with socket.socket() as closed:
        closed.bind(("localhost", 0))
        port = closed.getsockname()[1]
    store = RemoteModelStore(f"{bucket}/store?scheme=http&endpoint_override=localhost:{port}&retry_limit_seconds=0.2")
    with pytest.raises(StoreError, match=r"tried for 0.2 s: .*refused.*check the network"):
        store.models()


def test_state_that_others_change_all_the_time_ends_in_a_clear_error(
    fault_proxy: FaultProxy, new_model: NewModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = patient(fault_proxy).push(new_model(1), provenance()).version.number
    monkeypatch.setattr("slipway.remote.retries.sleep", lambda seconds: None)
    fault_proxy.inject("status", status=412, on=r"POST .*\.state\.json")
    with pytest.raises(StoreError, match=r"state\.json: .* 20 times.*run again"):
        patient(fault_proxy).promote("taxi", number)


def test_push_by_who_may_only_create_is_stopped_by_nothing_that_was_abandoned(
    fault_proxy: FaultProxy, storage_server: StorageServer, new_model: NewModel
) -> None:
    # What infrastructure/ lets pipelines do: to replace an object is to delete one, and of these only the state may be.
    for name in (".claims/7", "7/assets/vocabulary"):
        storage_server.put(f"store/taxi/{name}", b"nobody's")
    fault_proxy.make_older("claims/7$", 90_000)
    fault_proxy.inject("status", status=403, on="^DELETE ")
    store = patient(fault_proxy)
    numbers = [store.push(new_model(seed), provenance()).version.number for seed in (1, 2)]
    store.promote("taxi", numbers[0])
    store.promote("taxi", numbers[1])
    assert any(request == "DELETE store/taxi/7/saved_model.pb" for request in fault_proxy.requests)
    assert names(storage_server) >= {".claims/7", "7/assets/vocabulary"}
    written = [request.partition(" ")[2] for request in fault_proxy.requests if request.startswith(("POST", "PUT"))]
    # Of S3's probe only the first write succeeds.
    often = {name for name in written if written.count(name) > 1} - {"store/.slipway-probe"}
    assert often == {"store/taxi/.state.json"}
