"""What a push stores and what is read of it, the same in every kind of store."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.stores import storage
from slipway.stores.model_store import LocalModelStore, ModelStore, digest_model, open_store
from tests.model_files import provenance
from tests.slipway.stores.model_store.kinds import OpenStore

NewModel = Callable[[int], Path]


def written(uri: str) -> dict[str, bytes]:
    return {file.name: storage.read_bytes(file.uri) for file in storage.list_files(uri)}


def test_push_version_is_what_tensorflow_serving_polls(store: ModelStore, new_model: NewModel, uri: str) -> None:
    model = new_model(1)
    version = store.push(model, provenance()).version
    assert version.uri == storage.join(store.uri, "taxi", str(version.number))
    assert written(version.uri) == written(str(model))
    seen = {file.name.partition("/")[0] for file in storage.list_files(storage.join(uri, "taxi"))}
    assert {name for name in seen if not name.startswith(".")} == {str(version.number)}
    assert ".staging" not in seen


def test_push_manifest_tells_where_the_model_came_from(store: ModelStore, new_model: NewModel) -> None:
    given = provenance().model_copy(update={"metrics": {"auc": 0.95, "f1": None}, "baseline_version": 3})
    number = store.push(new_model(1), given).version.number
    manifest = store.version("taxi", number).manifest
    assert manifest.lineage == given.lineage
    assert (manifest.metrics, manifest.baseline_version) == ({"auc": 0.95, "f1": None}, 3)
    assert manifest.model_digest == digest_model(new_model(1))
    assert {file.path: file.size for file in manifest.files}["saved_model.pb"] == 3_000
    assert abs(manifest.created - time.time()) < 60


def test_push_numbers_follow_the_clock_and_grow(open_it: OpenStore, new_model: NewModel) -> None:
    times = (1_000.0, 1_000.0, 5_000.0)
    stores = [open_it(partial(float, now)) for now in times]
    numbers = [store.push(new_model(seed), provenance()).version.number for seed, store in enumerate(stores)]
    assert numbers == [1_001, 1_002, 5_001]


@pytest.mark.parametrize("name", ["20261126140500123456", "9" * 30, str(2**63), "\u0661", "1x", "-5"])
def test_push_folder_whose_name_is_no_version_does_not_count(
    name: str, open_it: OpenStore, new_model: NewModel, uri: str
) -> None:
    storage.write_text(storage.join(uri, "taxi", name, "saved_model.pb"), "x")
    store = open_it(lambda: 1_000.0)

    assert store.push(new_model(1), provenance()).version.number == 1_001
    assert [version.number for version in store.versions("taxi")] == [1_001]


def test_push_after_the_last_possible_version_is_refused(store: ModelStore, new_model: NewModel, uri: str) -> None:
    storage.write_text(storage.join(uri, "taxi", str(2**63 - 1), "saved_model.pb"), "x")

    with pytest.raises(StoreError, match="9223372036854775807, the last version that can be: move it away"):
        store.push(new_model(1), provenance())


@pytest.mark.parametrize("model", ["", ".", "..", "../other", "a/b", "/etc", ".manifests", "a\n", "a b"])
def test_name_that_is_no_models_name_is_refused(store: ModelStore, new_model: NewModel, model: str) -> None:
    acts: list[Callable[[], object]] = [
        lambda: store.versions(model),
        lambda: store.production(model),
        lambda: store.history(model),
        lambda: store.prune(model, 1),
        lambda: store.promote(model, 1),
        lambda: store.push(new_model(1), provenance().model_copy(update={"model": model})),
    ]
    for act in acts:
        with pytest.raises(StoreError, match="is not the name of a model"):
            act()


def test_push_clock_that_goes_back_still_grows(open_it: OpenStore, new_model: NewModel) -> None:
    late = open_it(lambda: 9_000.0).push(new_model(1), provenance())
    early = open_it(lambda: 10.0).push(new_model(2), provenance())
    assert (late.version.number, early.version.number) == (9_001, 9_002)


def test_push_number_that_another_pusher_claims_first_is_left_to_it(open_it: OpenStore, new_model: NewModel) -> None:
    other = open_it(lambda: 10.0)
    models = iter([new_model(2)])

    def clock() -> float:
        # Asked once the numbers in use were read, and before one is claimed.
        for model in models:
            assert other.push(model, provenance()).version.number == 11
        return 10.0

    assert open_it(clock).push(new_model(1), provenance()).version.number == 12
    assert [version.number for version in other.versions("taxi")] == [11, 12]


def test_push_model_that_changes_meanwhile_is_refused_and_leaves_nothing(
    open_it: OpenStore, new_model: NewModel, uri: str
) -> None:
    model = new_model(1)

    def clock() -> float:
        # Asked once the files were hashed, and before they are copied.
        (model / "saved_model.pb").write_bytes(b"z" * 3_000)
        return 10.0

    store = open_it(clock)
    with pytest.raises(StoreError, match=r"differs from .*another process"):
        store.push(model, provenance())
    assert not store.versions("taxi")
    assert not [name for name in written(storage.join(uri, "taxi")) if not name.startswith(".claims/")]


def test_push_deleted_number_is_never_used_again(open_it: OpenStore, new_model: NewModel) -> None:
    store = open_it(lambda: 10.0)
    first = store.push(new_model(1), provenance()).version
    storage.delete_folder(first.uri)
    assert store.production("taxi") is None
    assert store.push(new_model(1), provenance()).version.number == first.number + 1


def test_push_number_above_a_version_that_somebody_else_put_there(
    store: ModelStore, new_model: NewModel, uri: str
) -> None:
    storage.write_text(storage.join(uri, "taxi", "99999999999", "saved_model.pb"), "x")
    assert store.push(new_model(1), provenance()).version.number == 100_000_000_000
    assert [version.number for version in store.versions("taxi")] == [100_000_000_000]


def test_push_same_bytes_again_is_the_same_version(store: ModelStore, new_model: NewModel) -> None:
    first = store.push(new_model(1), provenance())
    again = store.push(new_model(1), provenance())
    assert (first.is_new, again.is_new) == (True, False)
    assert again.version == first.version


def test_push_same_bytes_after_another_version_is_a_new_version(store: ModelStore, new_model: NewModel) -> None:
    numbers = [store.push(new_model(seed), provenance()).version.number for seed in (1, 2, 1)]
    assert len(set(numbers)) == 3
    newest = store.production("taxi")
    assert newest is not None
    assert newest.manifest.model_digest == digest_model(new_model(1))
    assert newest.number == numbers[2]


def test_push_same_bytes_as_a_damaged_version_is_a_new_version(store: ModelStore, new_model: NewModel) -> None:
    first = store.push(new_model(1), provenance()).version
    storage.delete_file(storage.join(first.uri, "variables", "variables.index"))
    assert store.push(new_model(1), provenance()).version.number > first.number


def test_push_what_is_no_model_is_refused(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no saved_model\.pb"):
        store.push(tmp_path, provenance())


def test_push_store_that_cannot_be_written_is_a_clear_error(new_model: NewModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be stored in"):
        LocalModelStore(tmp_path / "file" / "store").push(new_model(1), provenance())


def test_verify_names_each_file_that_differs(store: ModelStore, new_model: NewModel) -> None:
    version = store.push(new_model(1), provenance()).version
    assert store.verify(version) == []
    storage.delete_file(storage.join(version.uri, "fingerprint.pb"))
    storage.write_bytes(storage.join(version.uri, "saved_model.pb"), b"y" * 3_000)
    storage.write_text(storage.join(version.uri, "extra"), "")
    problems = store.verify(version)
    assert len(problems) == 3
    assert "extra is not part of the version" in problems[0]
    assert "fingerprint.pb is missing" in problems[1]
    assert "saved_model.pb was changed: 3,000 bytes" in problems[2]
    with pytest.raises(StoreError, match=r"is not what was pushed: .*extra is not part"):
        store.promote("taxi", version.number)


def test_verify_empty_version_reports_every_file(store: ModelStore, new_model: NewModel) -> None:
    version = store.push(new_model(1), provenance()).version
    for file in storage.list_files(version.uri):
        storage.delete_file(file.uri)
    assert len(store.verify(version)) == 6


def test_versions_of_each_model_are_apart(store: ModelStore, new_model: NewModel) -> None:
    assert (store.models(), store.versions("taxi"), store.production("taxi")) == ([], [], None)
    old = store.push(new_model(1), provenance("taxi")).version
    new = store.push(new_model(2), provenance("taxi")).version
    store.push(new_model(1), provenance("iris"))
    assert store.models() == ["iris", "taxi"]
    assert store.versions("taxi") == [old, new]
    assert store.production("taxi") == new


def test_version_that_is_not_there_names_those_that_are(store: ModelStore, new_model: NewModel) -> None:
    number = store.push(new_model(1), provenance()).version.number
    with pytest.raises(StoreError, match=f"no version 7 in .*its versions are {number}"):
        store.version("taxi", 7)
    with pytest.raises(StoreError, match="it has no versions"):
        store.version("iris", 7)


def test_version_with_a_broken_manifest_names_the_file(store: ModelStore, new_model: NewModel, uri: str) -> None:
    number = store.push(new_model(1), provenance()).version.number
    storage.write_text(storage.join(uri, "taxi", ".manifests", f"{number}.json"), "{")
    with pytest.raises(StoreError, match=rf"/taxi/\.manifests/{number}\.json is damaged"):
        store.production("taxi")


@pytest.mark.parametrize("left_out", ["", ".state.json"])
def test_folder_of_a_model_that_was_copied_changes_neither(
    store: ModelStore, new_model: NewModel, uri: str, left_out: str
) -> None:
    """By its records it is the other model: a version of it would be that one's."""
    number = store.push(new_model(1), provenance()).version.number
    for name, content in written(storage.join(uri, "taxi")).items():
        if name != left_out:
            storage.write_bytes(storage.join(uri, "cab", name), content)
    with pytest.raises(StoreError, match=r"is that of .* copied or renamed"):
        store.version("cab", number)
    with pytest.raises(StoreError, match=r"is that of .* copied or renamed"):
        store.quarantine("cab", number)
    assert store.stage("taxi", number) == "candidate"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_open_store_local_path_is_a_local_store(tmp_path: Path, scheme: str) -> None:
    assert isinstance(open_store(f"{scheme}{tmp_path}"), LocalModelStore)


@pytest.mark.parametrize("change", ["content", "name", "missing"])
def test_digest_model_any_change_changes_it(new_model: NewModel, change: str) -> None:
    model = new_model(1)
    before = digest_model(model)
    path = model / "assets.extra" / "golden.json"
    if change == "content":
        path.write_bytes(path.read_bytes() + b" ")
    elif change == "name":
        path.rename(path.with_name("other.json"))
    else:
        path.unlink()
    assert digest_model(model) != before


def test_digest_model_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no model"):
        digest_model(tmp_path)
