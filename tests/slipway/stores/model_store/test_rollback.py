"""Rollbacks: where they go, what they are bound to, and what they refuse.

What a rollback decides is the same for every kind of store: those of a bucket have the tests in which the state changes
meanwhile, or files are deleted.
"""

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slipway.errors import ModelQuarantinedError, StoreError
from slipway.stores.model_store import Event, LocalModelStore, ModelStore, Version
from slipway.stores.model_store.remote import RemoteModelStore
from tests.fakes.fault_proxy import FaultProxy
from tests.model_files import provenance, write_model

Open = Callable[[], ModelStore]


@pytest.fixture
def clock() -> Iterator[int]:
    """Every look at it is a second later."""
    return itertools.count(1_000)


IN_EACH_STORE = pytest.mark.parametrize(
    "open_it",
    ["local", *(pytest.param(one, marks=pytest.mark.slow) for one in ("google_proxy", "s3_proxy"))],
    indirect=True,
)


@pytest.fixture
def open_it(request: pytest.FixtureRequest, tmp_path: Path, clock: Iterator[int]) -> Open:
    """The same store, opened by another person each time."""
    kind = getattr(request, "param", "local")
    if kind == "local":
        return lambda: LocalModelStore(tmp_path / "store", lambda: float(next(clock)))
    proxy: FaultProxy = request.getfixturevalue(kind)
    return lambda: RemoteModelStore(proxy.uri("store", retry_seconds=20), lambda: float(next(clock)))


@pytest.fixture
def store(open_it: Open) -> ModelStore:
    return open_it()


@pytest.fixture
def versions(store: ModelStore, tmp_path: Path) -> list[int]:
    """Four candidates."""
    models = [write_model(tmp_path / f"model-{seed}", seed) for seed in range(4)]
    return [store.push(model, provenance()).version.number for model in models]


def promote(store: ModelStore, *numbers: int) -> None:
    for number in numbers:
        store.promote("taxi", number, who="ann")


def refused(store: ModelStore, message: str, error: type[StoreError] = StoreError, **asked: float | None) -> str:
    """What a rollback says that is refused; it changes nothing."""
    before = store._load("taxi")
    with pytest.raises(error, match=message) as told:
        store.rollback("taxi", **asked)  # type: ignore[arg-type]
    assert store._load("taxi") == before
    return str(told.value)


def meanwhile(store: ModelStore, act: Callable[[], object]) -> None:
    """What happens between a rollback's look at the state and its change of it."""
    intact = store._intact

    def look(model: str, number: int) -> Version:
        act()
        return intact(model, number)

    store._intact = look  # type: ignore[method-assign]


def stable(store: ModelStore) -> list[int]:
    return [number for number, stage in store.stages("taxi").items() if stage == "stable"]


def test_rollback_where_nothing_was_promoted_is_refused(store: ModelStore, versions: list[int]) -> None:
    store.mark_canary("taxi", versions[2])
    for to in (None, versions[1]):
        told = refused(store, "nothing to roll back to: .*ever promoted", to=to)
        assert re.search(rf"{versions[3]}\b.*in production", told)
    refused(store, "ever promoted", leave=versions[3])


def test_rollback_from_the_first_promoted_version_is_refused(store: ModelStore, versions: list[int]) -> None:
    promote(store, versions[1])
    told = refused(store, f"no version was stable before {versions[1]}")
    assert f"Version {versions[1]} is stable since 1970-01-01" in told
    assert "promote by ann" in told


def test_rollback_to_a_version_that_may_not_serve_is_refused_and_says_what_serves(
    store: ModelStore, versions: list[int]
) -> None:
    one, two, three, four = versions
    promote(store, one, three, two)
    serves = f".*Version {two} is stable since"
    refused(store, f"version {four} was never promoted{serves}", to=four)
    refused(store, f"version {two} is in production already{serves}", to=two)
    store.prune("taxi", keep=0)
    refused(store, f"{one} was deleted{serves}", to=one)
    store.quarantine("taxi", three, why="wrong data", who="bob")
    refused(store, f"quarantined by bob: wrong data{serves}", ModelQuarantinedError, to=three)


def test_rollbacks_one_after_another_go_further_back(store: ModelStore, versions: list[int]) -> None:
    promote(store, *versions)
    for number in reversed(versions[:-1]):
        assert store.rollback("taxi", asked=time.time()).version == number
        assert stable(store) == [number]
    refused(store, f"no version was stable before {versions[0]}")


@IN_EACH_STORE
def test_rollback_skips_what_was_quarantined_or_deleted(store: ModelStore, versions: list[int]) -> None:
    promote(store, *versions)
    store.quarantine("taxi", versions[2])
    assert store.prune("taxi", keep=0) == [versions[0], versions[2]]
    assert store.rollback("taxi").version == versions[1]
    refused(store, "nothing to roll back to")


def test_rollback_past_a_version_is_not_followed_by_one_forward(store: ModelStore, versions: list[int]) -> None:
    one, two, three = versions[:3]
    promote(store, one, two, three)
    assert store.rollback("taxi", to=one).previous == three
    assert f"Name one of {two}, as in `slipway models rollback taxi --to {two}`" in refused(
        store, "nothing to roll back to"
    )
    assert store.rollback("taxi", to=two).previous == one


@pytest.mark.parametrize("moved", ["promote", "rollback"])
def test_rollback_asked_for_before_the_pin_moved_is_refused(
    store: ModelStore, versions: list[int], clock: Iterator[int], moved: str
) -> None:
    one, two, three, four = versions
    promote(store, one, two, three)
    typed = float(next(clock))
    now = (store.promote("taxi", four) if moved == "promote" else store.rollback("taxi")).version
    told = refused(store, rf"stable version is {now} now, not {three}; .*--from {now}", asked=typed)
    assert f"Version {now} is stable since" in told
    # Who has looked, or says which one, goes on.
    event = store.rollback("taxi", leave=now, asked=typed) if moved == "promote" else store.rollback("taxi")
    assert event.previous == now


def test_rollback_from_a_version_that_is_not_stable_is_refused(store: ModelStore, versions: list[int]) -> None:
    promote(store, *versions[:3])
    for number in (versions[1], versions[3], 0):
        refused(store, f"stable version is {versions[2]} now, not {number or 'any'}", leave=number)


def test_rollback_asked_for_before_anything_was_promoted_is_refused(
    store: ModelStore, versions: list[int], clock: Iterator[int]
) -> None:
    typed = float(next(clock))
    promote(store, *versions[:2])
    refused(store, f"stable version is {versions[1]} now, not any", asked=typed)


@IN_EACH_STORE
def test_rollback_two_at_once_go_back_one_version_only(open_it: Open, versions: list[int]) -> None:
    stores, together = [open_it(), open_it()], threading.Barrier(2)
    promote(stores[0], *versions)
    for store in stores:
        meanwhile(store, lambda: together.wait(20))

    def roll(store: ModelStore) -> Event | StoreError:
        try:
            return store.rollback("taxi")
        except StoreError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(roll, stores))
    events = [one for one in told if isinstance(one, Event)]
    assert [(one.version, one.previous) for one in events] == [(versions[2], versions[3])]
    assert any(re.search(rf"{versions[2]} now, not {versions[3]}", str(one)) for one in told)
    assert list(stores[0].stages("taxi").values()) == ["retired", "retired", "stable", "quarantined"]


@IN_EACH_STORE
def test_rollback_during_which_another_version_is_promoted_is_refused(
    store: ModelStore, open_it: Open, versions: list[int]
) -> None:
    one, two, three = versions[:3]
    promote(store, one, two)
    store.mark_canary("taxi", three)
    meanwhile(store, lambda: open_it().promote("taxi", three))
    with pytest.raises(StoreError, match=f"{three} now, not {two}.*{three} is stable since"):
        store.rollback("taxi")
    assert list(store.stages("taxi").values())[:3] == ["retired", "retired", "stable"]


@IN_EACH_STORE
def test_rollback_during_which_the_pin_went_and_came_back_is_refused(
    store: ModelStore, open_it: Open, versions: list[int]
) -> None:
    one, two, three = versions[:3]
    promote(store, one, two)
    meanwhile(store, lambda: promote(open_it(), three, two))
    with pytest.raises(StoreError, match=f"{two} now.*meanwhile"):
        store.rollback("taxi")
    assert stable(store) == [two]


@IN_EACH_STORE
def test_rollback_during_which_its_version_is_quarantined_is_refused(
    store: ModelStore, open_it: Open, versions: list[int]
) -> None:
    one, two = versions[:2]
    promote(store, one, two)
    meanwhile(store, lambda: open_it().quarantine("taxi", one, why="wrong data", who="bob"))
    with pytest.raises(ModelQuarantinedError, match=f"quarantined by bob: wrong data.*Version {two} is stable"):
        store.rollback("taxi")
    assert stable(store) == [two]


def test_rollback_during_a_canary_leaves_what_is_stable(store: ModelStore, versions: list[int]) -> None:
    one, two, three = versions[:3]
    promote(store, one, two)
    store.mark_canary("taxi", three)
    assert store.rollback("taxi").version == one
    assert list(store.stages("taxi").values())[:3] == ["stable", "quarantined", "canary"]


def test_rollback_to_the_version_that_is_the_canary_makes_it_stable(store: ModelStore, versions: list[int]) -> None:
    one, two = versions[:2]
    promote(store, one, two)
    store.mark_canary("taxi", one)
    assert store.rollback("taxi").version == one
    assert list(store.stages("taxi").values())[:2] == ["stable", "quarantined"]


def test_prune_without_a_pin_keeps_what_a_quarantine_of_the_newest_would_leave(
    store: ModelStore, versions: list[int]
) -> None:
    assert store.prune("taxi", keep=0) == versions[:2]
    store.quarantine("taxi", versions[3])
    production = store.production("taxi")
    assert production is not None
    assert production.number == versions[2]


def push(store: ModelStore, folder: Path, seed: int) -> int:
    return store.push(write_model(folder / f"released-{seed}", seed), provenance()).version.number


def test_release_lifts_a_quarantine_of_all_with_the_same_bytes_and_says_who(store: ModelStore, tmp_path: Path) -> None:
    one, two = push(store, tmp_path, 1), push(store, tmp_path, 2)
    promote(store, one, two)
    store.rollback("taxi", why="p99", who="bob")
    with pytest.raises(ModelQuarantinedError, match=f"lift that: `slipway models release taxi/{two}`"):
        store.promote("taxi", two)
    event = store.release("taxi", two, why="it was the node", who="ann@example.com", says="ann")
    assert (event.action, event.version, event.actor) == ("release", two, "ann@example.com (says: ann)")
    assert store.stage("taxi", two) == "retired"
    store.promote("taxi", two)
    assert [each.action for each in store.history("taxi")][-3:] == ["rollback", "release", "promote"]
    with pytest.raises(StoreError, match=f"version {two} of taxi cannot be released: it is the stable version"):
        store.release("taxi", two)
    store.rollback("taxi", why="it was not")
    assert store.stage("taxi", two) == "quarantined"


@IN_EACH_STORE
def test_release_of_a_deleted_version_lets_its_bytes_be_pushed_again(store: ModelStore, tmp_path: Path) -> None:
    one, two = push(store, tmp_path, 1), push(store, tmp_path, 2)
    promote(store, one, two)
    store.rollback("taxi")
    assert store.prune("taxi", 0) == [two]
    with pytest.raises(ModelQuarantinedError):
        push(store, tmp_path, 2)
    store.release("taxi", two)
    assert push(store, tmp_path, 2) > two
