import io
from pathlib import Path
from typing import Any

import pytest

from slipway.stores.model_store import LocalModelStore, Version, open_store
from tests.fakes.storage_server import StorageServer
from tests.model_files import provenance, write_model
from tests.steps import find_baseline as resolve
from tests.steps import find_served


def test_resolve_empty_store_has_no_baseline(tmp_path: Path) -> None:
    assert resolve(str(write_model(tmp_path / "model")), str(tmp_path / "store"), "taxi") == ""


def test_resolve_newest_version_is_the_baseline(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    for seed in (1, 2):
        newest = store.push(write_model(tmp_path / f"{seed}", seed), provenance()).version
    store.push(write_model(tmp_path / "iris", 3), provenance("iris"))
    assert resolve(str(write_model(tmp_path / "model", 9)), str(tmp_path / "store"), "taxi") == newest.uri


def test_resolve_after_its_own_push_the_baseline_is_the_one_before(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    candidate = write_model(tmp_path / "candidate", 5)
    before = store.push(write_model(tmp_path / "1", 1), provenance()).version
    first = resolve(str(candidate), str(tmp_path / "store"), "taxi")
    store.push(candidate, provenance())
    assert resolve(str(candidate), str(tmp_path / "store"), "taxi") == first == before.uri


def test_resolve_only_its_own_bytes_in_the_store_has_no_baseline(tmp_path: Path) -> None:
    candidate = write_model(tmp_path / "candidate", 5)
    LocalModelStore(tmp_path / "store").push(candidate, provenance())
    assert resolve(str(candidate), str(tmp_path / "store"), "taxi") == ""


def test_resolve_reads_no_file_of_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, candidate = LocalModelStore(tmp_path / "store"), write_model(tmp_path / "candidate", 5)
    newest = max(pushed(tmp_path, store, seed, promote=False).number for seed in range(3))
    opened, really_open = list[Path](), io.open

    def open_it(file: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(Path(file))
        return really_open(file, *arguments, **options)

    monkeypatch.setattr(io, "open", open_it)
    resolve(str(candidate), str(tmp_path / "store"), "taxi")
    read = [path.relative_to(tmp_path / "store" / "taxi") for path in opened if "store" in path.parts]
    assert Path(".manifests", f"{newest}.json") in read
    assert {path.parts[0] for path in read} <= {".manifests", ".state.json"}


def test_resolve_pinned_version_is_the_baseline_though_newer_ones_are_there(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    one, two = (store.push(write_model(tmp_path / f"{seed}", seed), provenance()).version for seed in (1, 2))
    store.promote("taxi", one.number)
    assert resolve(str(write_model(tmp_path / "model", 9)), str(tmp_path / "store"), "taxi") == one.uri
    assert resolve(str(tmp_path / "1"), str(tmp_path / "store"), "taxi") == two.uri


def test_resolve_quarantined_version_is_no_baseline(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    one, two = (store.push(write_model(tmp_path / f"{seed}", seed), provenance()).version for seed in (1, 2))
    store.quarantine("taxi", two.number)
    assert resolve(str(write_model(tmp_path / "model", 9)), str(tmp_path / "store"), "taxi") == one.uri
    assert resolve(str(tmp_path / "1"), str(tmp_path / "store"), "taxi") == ""


def test_resolve_remote_store_answers_a_remote_uri(
    tmp_path: Path,
    storage_server: StorageServer,
) -> None:
    uri = storage_server.uri("store")
    version = open_store(uri).push(write_model(tmp_path / "1", 1), provenance()).version
    assert resolve(str(write_model(tmp_path / "model", 9)), uri, "taxi") == version.uri


def pushed(tmp_path: Path, store: LocalModelStore, seed: int, promote: bool = True) -> Version:
    version = store.push(write_model(tmp_path / f"{seed}", seed), provenance()).version
    if promote:
        store.promote("taxi", version.number)
    return version


def test_served_are_the_others_of_the_last_five_in_production_newest_first(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    versions = [pushed(tmp_path, store, seed) for seed in range(7)]
    pushed(tmp_path, store, 8, promote=False)  # never served
    served = find_served(str(write_model(tmp_path / "model", 9)), str(tmp_path / "store"), "taxi")
    assert served == {f"version {one.number}": one.uri for one in versions[2:6]}
    assert next(iter(served)) == f"version {versions[5].number}"


def test_served_without_a_pin_are_the_versions_pushed(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    one, two, _ = (pushed(tmp_path, store, seed, promote=False) for seed in range(3))
    served = find_served(str(write_model(tmp_path / "model", 9)), str(tmp_path / "store"), "taxi")
    assert set(served.values()) == {one.uri, two.uri}


def test_served_after_its_own_push_are_those_of_before(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    for seed in range(3):
        pushed(tmp_path, store, seed)
    asked = str(write_model(tmp_path / "model", 9)), str(tmp_path / "store"), "taxi"
    before = find_served(*asked)
    store.promote("taxi", store.push(tmp_path / "model", provenance()).version.number)
    assert find_served(*asked) == before


def test_served_leaves_out_what_was_rolled_back_and_names_what_was_deleted(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    one, two, three = (pushed(tmp_path, store, seed) for seed in range(3))
    store.rollback("taxi")
    four = pushed(tmp_path, store, 4)
    asked = str(write_model(tmp_path / "model", 9)), str(tmp_path / "store"), "taxi"
    assert three.uri not in find_served(*asked).values()
    assert find_served(*asked) == {f"version {one.number}": one.uri, f"version {two.number}": two.uri}
    assert store.prune("taxi", 0)
    served = find_served(*asked)
    assert four.uri not in served.values()
    assert served[f"version {one.number}"] == ""
