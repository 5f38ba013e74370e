"""A model store as what to serve: on this machine and on gs://."""

from __future__ import annotations

from pathlib import Path

from serving.server.model_sources import StoreModels, Wanted
from slipway.lineage import Lineage
from slipway.stores.model_store import LocalModelStore, ModelStore, Provenance, open_store
from tests.each_store import ON_EACH_STORE
from tests.fakes.fault_proxy import FaultProxy


def push(store: ModelStore, folder: Path, number: int) -> int:
    model = folder / f"model-{number}"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"%d" % number)
    (model / "variables" / "variables.index").write_bytes(b"index")
    lineage = Lineage(run="r", module="taxi", module_digest="d", data_uri="d")
    return store.push(model, Provenance(model="taxi", lineage=lineage)).version.number


def wanted(source: StoreModels) -> Wanted:
    found = source.poll()["taxi"]
    assert found
    return found


def test_store_models_follow_the_pin_and_the_canary(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    first, second = (push(store, tmp_path, number) for number in (1, 2))
    source = StoreModels(store, [], tmp_path / "cache")

    assert wanted(source).versions.keys() == {second}
    store.promote("taxi", first)
    assert wanted(source) == Wanted({first: tmp_path / "store" / "taxi" / str(first)}, {"stable": first}, first)
    store.mark_canary("taxi", second)
    found = wanted(source)
    assert (set(found.versions), dict(found.labels), found.default) == (
        {first, second},
        {"stable": first, "canary": second},
        first,
    )
    store.promote("taxi", second)
    store.rollback("taxi")
    assert wanted(source).labels == {"stable": first}


def test_store_models_damaged_canary_is_left_out_and_a_damaged_stable_changes_nothing(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    first, second = (push(store, tmp_path, number) for number in (1, 2))
    store.promote("taxi", first)
    store.mark_canary("taxi", second)
    for number in (second, first):
        (tmp_path / "store" / "taxi" / str(number) / "saved_model.pb").write_bytes(b"other")
        source = StoreModels(store, ["taxi"], tmp_path / "cache")
        if number == second:
            assert wanted(source).labels == {"stable": first}
    assert source.poll() == {"taxi": None}


@ON_EACH_STORE
def test_store_models_of_a_bucket_are_fetched_once(fault_proxy: FaultProxy, tmp_path: Path) -> None:
    store = open_store(fault_proxy.uri("serving-store"))
    number = push(store, tmp_path, 1)
    source = StoreModels(store, [], tmp_path / "cache")

    path = wanted(source).versions[number]

    assert path == tmp_path / "cache" / "taxi" / str(number)
    assert (path / "variables" / "variables.index").read_bytes() == b"index"
    (path / "saved_model.pb").write_bytes(b"touched: it is not fetched again while the server runs")
    assert wanted(source).versions[number] == path
    assert b"touched" in (path / "saved_model.pb").read_bytes()


def test_store_models_say_why_there_is_nothing_to_serve(tmp_path: Path) -> None:
    store = LocalModelStore(tmp_path / "store")
    number = push(store, tmp_path, 1)
    source = StoreModels(store, ["other", "taxi"], tmp_path)

    assert "its models: taxi" in source.describe("other")
    (tmp_path / "store" / "taxi" / str(number) / "saved_model.pb").write_bytes(b"other")
    assert source.poll()["taxi"] is None
    assert "saved_model.pb" in source.describe("taxi")
    store.quarantine("taxi", number, why="it is wrong")
    assert wanted(source) == Wanted({})
    assert f"{number} is quarantined" in source.describe("taxi")
