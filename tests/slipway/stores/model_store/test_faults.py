"""A push that is killed at every operation, pushes at the same time, a full disk, and a poller that watches."""

import multiprocessing
import os
import shutil
import threading
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.stores.model_store import LocalModelStore
from tests.model_files import provenance, write_model
from tests.slipway.stores.model_store.killing import half_versions, killed_at


def _kill_everywhere(folder: Path, stride: int) -> None:
    root, base = folder / "store", folder / "store" / "taxi"
    models = [write_model(folder / f"model-{seed}", seed) for seed in range(2)]
    LocalModelStore(root).push(models[1], provenance())
    operation, rounds, used = 1 - stride, 0, {0}
    while True:
        operation, rounds = operation + stride, rounds + 1
        killed = killed_at(operation, lambda: LocalModelStore(root).push(models[0], provenance()))
        assert half_versions(base) == []
        used |= {int(path.name) for path in (base / ".claims").iterdir()}
        # The next push works, with a number of its own, and clears away what the killed one left.
        pushed = LocalModelStore(root).push(models[rounds % 2], provenance())
        if pushed.is_new:
            assert pushed.version.number > max(used)
        LocalModelStore(root).push(models[1], provenance())
        assert half_versions(base) == []
        assert list((base / ".staging").iterdir()) == []
        orphans = {path.stem for path in (base / ".manifests").iterdir()} - {path.name for path in base.iterdir()}
        assert orphans == set()
        if not killed:
            break
        for version in LocalModelStore(root).versions("taxi")[:-1]:
            shutil.rmtree(version.uri)
            (base / ".manifests" / f"{version.number}.json").unlink()
    (folder / "operations").write_text(str(operation))


@pytest.mark.parametrize("stride", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_push_killed_at_every_file_operation_leaves_no_half_version(tmp_path: Path, stride: int) -> None:
    # A fresh process, because forking one in which TensorFlow's threads run is not safe.
    worker = multiprocessing.get_context("spawn").Process(target=_kill_everywhere, args=(tmp_path, stride))
    worker.start()
    worker.join(240)
    assert worker.exitcode == 0
    assert int((tmp_path / "operations").read_text()) > 200


def _push_many(folder: Path, worker: int) -> None:
    store = LocalModelStore(folder / "store")
    for count in range(15):
        store.push(write_model(folder / f"{worker}-{count}", 1_000 * worker + count), provenance())


def test_push_several_processes_at_once_each_get_their_versions_and_a_poller_sees_whole_ones(tmp_path: Path) -> None:
    base = tmp_path / "store" / "taxi"
    seen: list[str] = []
    polls = [0]
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            seen.extend(half_versions(base))
            polls[0] += 1

    poller = threading.Thread(target=poll)
    poller.start()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_push_many, args=(tmp_path, worker)) for worker in range(3)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
    finally:
        done.set()
        poller.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert seen == []
    assert polls[0] > 10
    versions = LocalModelStore(tmp_path / "store").versions("taxi")
    assert len({version.manifest.model_digest for version in versions}) == len(versions) == 45
    assert list((base / ".staging").iterdir()) == []


def test_push_running_push_is_not_cleaned_away_by_another(tmp_path: Path) -> None:
    root, base = tmp_path / "store", tmp_path / "store" / "taxi"
    source = write_model(tmp_path / "model", 1)
    store = LocalModelStore(root)

    calls = []

    def clock() -> float:
        # The clock is read a second time in the middle of a push, after the claim: there another push comes in.
        calls.append(50.0)
        if len(calls) == 2:
            (base / ".staging" / "51").mkdir()
            store.push(write_model(tmp_path / "other", 2), provenance())
            (base / ".staging" / "51").rmdir()
        return 50.0

    assert LocalModelStore(root, clock).push(source, provenance()).version.number == 51
    assert half_versions(base) == []
    assert len(store.versions("taxi")) == 2


def test_push_full_disk_is_a_clear_error_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    store = LocalModelStore(small_disk / "store")
    small = store.push(write_model(tmp_path / "small", 1), provenance()).version
    large = write_model(tmp_path / "large", 2)
    (large / "variables" / "variables.data-00000-of-00001").write_bytes(os.urandom(400_000))
    with pytest.raises(StoreError, match=r"403,\d\d\d bytes\) cannot be stored .*No space left on device.*make room"):
        store.push(large, provenance())
    assert half_versions(small_disk / "store" / "taxi") == []
    assert store.production("taxi") == small
    assert list((small_disk / "store" / "taxi" / ".staging").iterdir()) == []
    assert store.push(write_model(tmp_path / "next", 3), provenance()).version.number > small.number
