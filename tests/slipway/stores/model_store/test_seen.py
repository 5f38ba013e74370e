"""A change that was decided on another state of the model is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.errors import ChangedMeanwhileError
from slipway.stores.model_store import ModelStore, Seen
from tests.model_files import provenance

# What is compared is the state that was read: buckets of each kind answer the same.
pytestmark = pytest.mark.parametrize("uri", ["local", "gs"], indirect=True)


@pytest.fixture
def versions(store: ModelStore, new_model: Callable[[int], Path]) -> list[int]:
    numbers = [store.push(new_model(seed), provenance()).version.number for seed in range(3)]
    store.promote("taxi", numbers[0])
    return numbers


def test_promote_with_the_pin_that_was_seen_is_done(store: ModelStore, versions: list[int]) -> None:
    event = store.promote("taxi", versions[1], seen=Seen(versions[0], "candidate"))
    assert (event.version, event.previous) == (versions[1], versions[0])


def test_promote_after_the_pin_moved_changes_nothing_and_says_who_moved_it(
    store: ModelStore, versions: list[int]
) -> None:
    store.promote("taxi", versions[1], why="as agreed", who="ann")
    before = store.history("taxi")
    with pytest.raises(ChangedMeanwhileError, match=rf"it was {versions[0]} .*{versions[1]} is stable.*ann, as agreed"):
        store.promote("taxi", versions[2], seen=Seen(versions[0], "candidate"))
    assert store.history("taxi") == before


def test_quarantine_and_release_after_the_stage_changed_are_refused(store: ModelStore, versions: list[int]) -> None:
    seen = Seen(versions[0], "candidate")
    store.quarantine("taxi", versions[1], why="biased", who="ann", seen=seen)
    with pytest.raises(ChangedMeanwhileError, match=r"it was candidate .*quarantined by ann: biased"):
        store.quarantine("taxi", versions[1], seen=seen)
    store.release("taxi", versions[1], seen=Seen(versions[0], "quarantined"))
    with pytest.raises(ChangedMeanwhileError, match="is retired now"):
        store.release("taxi", versions[1], seen=Seen(versions[0], "quarantined"))


def test_rollback_after_another_one_is_refused(store: ModelStore, versions: list[int]) -> None:
    for number in versions[1:]:
        store.promote("taxi", number)
    seen = Seen(versions[2], "retired")
    store.rollback("taxi", versions[1], seen=seen)
    with pytest.raises(ChangedMeanwhileError, match=f"it was {versions[2]} when"):
        store.rollback("taxi", versions[0], seen=seen)
    assert store.stage("taxi", versions[1]) == "stable"


def test_look_reads_no_manifest_twice(store: ModelStore, versions: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    _, known = store.look("taxi")
    stamp = store.stamp("taxi")
    assert store.stamp("taxi") == stamp
    store.promote("taxi", versions[1])
    assert store.stamp("taxi") != stamp
    monkeypatch.setattr(store, "_read", lambda *_: pytest.fail("a manifest was read again"))
    state, again = store.look("taxi", {one.number: one for one in known})
    assert (state.pin, again) == (versions[1], known)
