"""Promotions, rollbacks and deletions that are killed at every operation, at the same time, on a full disk."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.stores.model_store import LocalModelStore
from tests.model_files import provenance, write_model
from tests.slipway.stores.model_store.killing import half_versions, killed_at

ACTIONS: dict[str, Callable[[LocalModelStore], object]] = {
    "promote": lambda store: store.promote("taxi", 14),
    "rollback": lambda store: store.rollback("taxi"),
    "quarantine": lambda store: store.quarantine("taxi", 14),
    "prune": lambda store: store.prune("taxi", keep=0),
}


def _prepared(folder: Path) -> Path:
    """A store with the versions 11 … 14, of which 12 and then 13 were promoted."""
    store = LocalModelStore(folder / "prepared", clock=lambda: 10.0)
    for seed in range(4):
        store.push(write_model(folder / f"model-{seed}", seed), provenance())
    store.promote("taxi", 12)
    store.promote("taxi", 13)
    return folder / "prepared"


def _kill_everywhere(folder: Path, name: str, stride: int) -> None:
    action, prepared, root = ACTIONS[name], _prepared(folder), folder / "store"
    shutil.copytree(prepared, root)
    before = LocalModelStore(root, clock=lambda: 10.0)._load("taxi")
    action(LocalModelStore(root, clock=lambda: 10.0))
    after = LocalModelStore(root)._load("taxi")
    assert after != before
    operation = 1
    while True:
        shutil.rmtree(root)
        shutil.copytree(prepared, root)
        killed = killed_at(operation, lambda: action(LocalModelStore(root, clock=lambda: 10.0)))
        store = LocalModelStore(root, clock=lambda: 10.0)
        found = store._load("taxi")
        assert found in (before, after)
        assert half_versions(root / "taxi") == []
        assert all(store.verify(version) == [] for version in store.versions("taxi"))
        # Nothing is locked, and the same command again ends where the first one should have.
        if found == before or name == "prune":
            action(store)
        assert store._load("taxi") == after
        visible = {int(path.name) for path in (root / "taxi").iterdir() if path.name.isdigit()}
        assert visible == set(store.stages("taxi"))
        if not killed:
            break
        operation += stride
    (folder / "operations").write_text(str(operation))


@pytest.mark.parametrize("name", list(ACTIONS))
@pytest.mark.parametrize("stride", [31, pytest.param(1, marks=pytest.mark.slow)])
def test_action_killed_at_every_file_operation_happened_or_did_not(tmp_path: Path, name: str, stride: int) -> None:
    # A fresh process, because forking one in which TensorFlow's threads run is not safe.
    worker = multiprocessing.get_context("spawn").Process(target=_kill_everywhere, args=(tmp_path, name, stride))
    worker.start()
    worker.join(240)
    assert worker.exitcode == 0
    assert int((tmp_path / "operations").read_text()) > 30


def _promote_many(root: Path, numbers: list[int]) -> None:
    store = LocalModelStore(root)
    for number in numbers * 10:
        store.promote("taxi", number, who=f"process {numbers[0]}")


def test_promote_several_processes_at_once_each_see_what_the_other_did(tmp_path: Path) -> None:
    root = _prepared(tmp_path)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_promote_many, args=(root, numbers)) for numbers in ([11, 12], [13, 14])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    store = LocalModelStore(root)
    promotions = [event for event in store.history("taxi") if event.action == "promote"]
    assert [event.previous for event in promotions] == [None, *(event.version for event in promotions[:-1])]
    assert len(promotions) > 30
    assert list(store.stages("taxi").values()).count("stable") == 1
    assert store.stage("taxi", promotions[-1].version) == "stable"


@contextmanager
def _full(disk: Path) -> Iterator[None]:
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(4_096))
    assert shutil.disk_usage(disk).free == 0
    yield
    filler.unlink()


def test_promote_on_a_full_disk_is_a_clear_error_and_changes_nothing(small_disk: Path, tmp_path: Path) -> None:
    store = LocalModelStore(small_disk / "store")
    one, two = (store.push(write_model(tmp_path / f"{seed}", seed), provenance()).version.number for seed in range(2))
    store.promote("taxi", one)
    with (
        _full(small_disk),
        pytest.raises(StoreError, match=r"the state of taxi .*No space left on device; nothing was"),
    ):
        store.promote("taxi", two)
    assert store.stages("taxi") == {one: "stable", two: "candidate"}
    assert store.promote("taxi", two).previous == one


def test_push_whose_state_cannot_be_written_is_there_and_enters_the_history_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = LocalModelStore(tmp_path / "store", lock_seconds=0.05)
    first = store.push(write_model(tmp_path / "1", 1), provenance()).version.number
    with LocalModelStore(tmp_path / "store")._locked(tmp_path / "store" / "taxi"):
        second = store.push(write_model(tmp_path / "2", 2), provenance()).version.number
    assert f"warning: version {second} of taxi is not yet in the history" in capsys.readouterr().out
    assert [event.version for event in store.history("taxi")] == [first, second]
    store.promote("taxi", second)
    assert [event.action for event in store._load("taxi").history] == ["push", "push", "promote"]
