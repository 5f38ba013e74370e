"""Stages, pin and history, the same in every kind of store."""

import getpass
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slipway.errors import ModelQuarantinedError, StoreError
from slipway.stores import storage
from slipway.stores.model_store import LocalModelStore, ModelStore
from tests.fakes.s3_server import ACCESS_KEY
from tests.model_files import provenance, write_model
from tests.slipway.stores.model_store.kinds import OpenStore

Push = Callable[[int], int]


@pytest.fixture
def push(store: ModelStore, tmp_path: Path) -> Push:
    return lambda seed: store.push(write_model(tmp_path / f"model-{seed}", seed), provenance()).version.number


def production(store: ModelStore) -> int | None:
    version = store.production("taxi")
    return version.number if version else None


def bytes_of(uri: str) -> dict[str, tuple[float, bytes]]:
    """Everything but the state; of local files with the time of their last change."""
    return {
        file.name: (Path(file.uri).stat().st_mtime_ns if Path(file.uri).exists() else 0, storage.read_bytes(file.uri))
        for file in storage.list_files(uri)
        if "/.state" not in file.name
    }


def test_production_without_a_pin_is_the_newest_and_with_one_the_pin(store: ModelStore, push: Push) -> None:
    one, two = push(1), push(2)
    assert production(store) == two
    store.promote("taxi", one)
    push(3)
    assert production(store) == one


def test_production_without_a_pin_is_not_a_quarantined_version(store: ModelStore, push: Push) -> None:
    one, two = push(1), push(2)
    store.quarantine("taxi", two)
    assert production(store) == one
    store.quarantine("taxi", one)
    assert production(store) is None


def test_promote_and_rollback_move_the_pin_and_rewrite_no_file(store: ModelStore, push: Push, uri: str) -> None:
    one, two = push(1), push(2)
    before = bytes_of(uri)
    store.promote("taxi", one)
    store.promote("taxi", two)
    event = store.rollback("taxi", why="p99 doubled", who="ann")
    assert (event.action, event.version, event.previous) == ("rollback", one, two)
    assert production(store) == one
    assert store.stages("taxi") == {one: "stable", two: "quarantined"}
    assert bytes_of(uri) == before


def test_history_tells_when_who_why_and_of_which_run(store: ModelStore, push: Push, uri: str) -> None:
    number = push(1)
    store.promote("taxi", number)
    store.quarantine("taxi", push(2), why="golden answers differ", who="rollout")
    pushed, promoted, _, quarantined = store.history("taxi")
    user = ACCESS_KEY if uri.startswith("s3:") else getpass.getuser()
    assert (pushed.action, pushed.version, pushed.run, pushed.who) == ("push", number, "run-1", user)
    assert (promoted.action, promoted.who, promoted.why) == ("promote", user, "promoted by hand")
    assert promoted.model_digest == store.version("taxi", number).manifest.model_digest
    assert (quarantined.who, quarantined.why) == ("rollout", "golden answers differ")
    assert pushed.when <= promoted.when <= quarantined.when
    kept = json.loads(storage.read_bytes(storage.join(uri, "taxi", ".state.json")))
    assert (kept["pin"], len(kept["history"])) == (number, 4)


def test_store_without_a_state_file_is_taken_over_as_it_is(store: ModelStore, push: Push, uri: str) -> None:
    one, two = push(1), push(2)
    state = storage.join(uri, "taxi", ".state.json")
    storage.delete_file(state)
    assert [(event.action, event.version) for event in store.history("taxi")] == [("push", one), ("push", two)]
    assert store.stages("taxi") == {one: "candidate", two: "candidate"}
    assert not storage.exists(state)
    store.promote("taxi", one)
    assert [event.action for event in store.history("taxi")] == ["push", "push", "promote"]


def test_promote_damaged_version_is_refused(store: ModelStore, push: Push) -> None:
    one, two = push(1), push(2)
    store.promote("taxi", one)
    storage.delete_file(storage.join(store.version("taxi", two).uri, "variables", "variables.index"))
    with pytest.raises(StoreError, match=rf"version {two} of taxi .*variables.index is missing"):
        store.promote("taxi", two)
    assert production(store) == one


def test_rollback_to_a_damaged_version_is_refused_and_changes_nothing(store: ModelStore, push: Push) -> None:
    one, two = push(1), push(2)
    store.promote("taxi", one)
    store.promote("taxi", two)
    storage.write_text(storage.join(store.version("taxi", one).uri, "saved_model.pb"), "")
    with pytest.raises(StoreError, match=r"saved_model.pb was changed"):
        store.rollback("taxi")
    assert store.stages("taxi") == {one: "retired", two: "stable"}


def test_push_quarantined_bytes_are_refused(store: ModelStore, push: Push) -> None:
    number = push(1)
    push(2)
    store.quarantine("taxi", number, why="NaN on 3 rows", who="ann")
    with pytest.raises(ModelQuarantinedError, match=f"version {number} of taxi.* ann: NaN on 3 rows"):
        push(1)
    assert len(store.versions("taxi")) == 2


def test_prune_deletes_files_and_keeps_manifest_history_and_number(store: ModelStore, push: Push, uri: str) -> None:
    one, two, three, four = (push(seed) for seed in range(4))
    store.promote("taxi", two)
    store.promote("taxi", three)
    assert store.prune("taxi", keep=1, why="old", who="cron") == [one]
    names = storage.list_names(storage.join(uri, "taxi"))
    assert sorted(name for name in names if name.isdigit()) == [str(two), str(three), str(four)]
    assert storage.exists(storage.join(uri, "taxi", ".manifests", f"{one}.json"))
    assert ".trash" not in names
    last = store.history("taxi")[-1]
    assert (last.action, last.version, last.why, last.who) == ("delete", one, "old", "cron")
    with pytest.raises(StoreError, match=rf"no version {one} in .*; {one} was deleted; its versions are {two}"):
        store.version("taxi", one)
    assert push(0) > four


def test_prune_that_was_killed_halfway_is_ended_by_the_next(store: ModelStore, push: Push, uri: str) -> None:
    one, _, _ = (push(seed) for seed in range(3))
    folder = storage.join(uri, "taxi", str(one))
    whole = {file.name: storage.read_bytes(file.uri) for file in storage.list_files(folder)}
    assert store.prune("taxi", keep=0) == [one]
    for name, content in whole.items():  # the state was written, the files are there yet
        storage.write_bytes(storage.join(folder, name), content)
    assert one not in store.stages("taxi")
    assert store.prune("taxi", keep=0) == []
    assert not storage.list_files(folder)


def test_prune_unknown_model_or_negative_number_is_told(store: ModelStore, push: Push) -> None:
    push(1)
    assert store.prune("iris", keep=0) == []
    with pytest.raises(StoreError, match="keep=-1"):
        store.prune("taxi", keep=-1)


def test_fetch_local_version_is_its_own_directory_if_intact(local_store: LocalModelStore, tmp_path: Path) -> None:
    version = local_store.push(write_model(tmp_path / "model", 1), provenance()).version
    assert local_store.fetch(version, tmp_path / "cache") == Path(version.uri)
    (Path(version.uri) / "fingerprint.pb").unlink()
    with pytest.raises(StoreError, match=r"is not what was pushed: .*fingerprint.pb is missing"):
        local_store.fetch(version, tmp_path / "cache")


def test_promote_clock_that_goes_back_changes_nothing_of_the_order(open_it: OpenStore, tmp_path: Path) -> None:
    early, late = open_it(lambda: 10.0), open_it(lambda: 9_000.0)
    one, two = (late.push(write_model(tmp_path / f"{seed}", seed), provenance()).version.number for seed in range(2))
    late.promote("taxi", one)
    early.promote("taxi", two)
    history = late.history("taxi")
    assert [event.when for event in history] == [9_000.0, 9_000.0, 9_000.0, 10.0]
    assert [event.action for event in history] == ["push", "push", "promote", "promote"]
    assert production(late) == two


def test_state_of_a_damaged_file_is_a_clear_error(store: ModelStore, push: Push, uri: str) -> None:
    number = push(1)
    storage.write_text(storage.join(uri, "taxi", ".state.json"), '{"model": "taxi", "pin": "x"}')
    with pytest.raises(StoreError, match=r"/taxi/\.state\.json is damaged: pin: "):
        store.promote("taxi", number)


def test_promote_promoters_at_once_each_count(push: Push, open_it: OpenStore) -> None:
    numbers = [push(seed) for seed in range(4)]
    stores = [open_it() for _ in numbers]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            list(pool.map(lambda pair: pair[0].promote("taxi", pair[1]), zip(stores, numbers, strict=True)))
    promotions = [event for event in stores[0].history("taxi") if event.action == "promote"]
    assert len(promotions) >= 7  # one that finds its version stable already is no change
    # Each saw the one before it: no promotion was made over a state that was no longer there.
    assert [event.previous for event in promotions] == [None, *(event.version for event in promotions[:-1])]
    assert production(stores[0]) == promotions[-1].version


def test_push_pushers_at_once_each_get_their_version(open_it: OpenStore, tmp_path: Path) -> None:
    models = [write_model(tmp_path / f"at-once-{seed}", seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        pushed = list(pool.map(lambda model: open_it(lambda: 50.0).push(model, provenance()), models))
    store = open_it()
    assert sorted(push.version.number for push in pushed) == list(range(51, 57))
    assert [store.verify(version) for version in store.versions("taxi")] == [[]] * 6
    assert sorted(event.version for event in store.history("taxi")) == list(range(51, 57))


def test_history_of_a_user_without_a_name_has_the_number(
    local_store: LocalModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as in a container with an arbitrary user
    local_store.push(write_model(tmp_path / "model", 1), provenance())
    assert local_store.history("taxi")[0].who == f"uid {os.getuid()}"


def test_promote_state_that_somebody_holds_ends_in_a_clear_error(local_store: LocalModelStore, tmp_path: Path) -> None:
    number = local_store.push(write_model(tmp_path / "model", 1), provenance()).version.number
    hasty = LocalModelStore(tmp_path / "store", lock_seconds=0.05)
    with (
        local_store._locked(tmp_path / "store" / "taxi"),
        pytest.raises(StoreError, match=r"\.state\.lock for 0.05 s"),
    ):
        hasty.promote("taxi", number)
    assert hasty.promote("taxi", number).version == number
