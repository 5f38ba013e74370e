"""All workers begin again when one is lost, and what becomes of the step; processes end as they are told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.train_model import workers
from components.train_model.together import WorkerInputs, WorkerLostError
from components.train_model.workers import run_workers
from slipway.errors import ModuleError, TrainingError
from tests.components.worker_inputs import inputs_of
from tests.shapes import Artifacts, make_transformed


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


class OwnProcess:
    ends: list[Exception | None]

    def __init__(self, inputs: WorkerInputs, index: int, hosts: list[str]) -> None:
        self.end_with = self.ends.pop(0)

    def is_alive(self) -> bool:
        return False

    def check(self) -> None:
        if self.end_with:
            raise self.end_with

    def end(self) -> None: ...


class SomeWorkers:
    index, poll_seconds, hosts = 0, 0.01, ["a:1", "b:1"]

    def __init__(self, raises: Exception | None = None) -> None:
        self.raises = raises

    def check(self) -> None:
        if self.raises:
            raise self.raises


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(workers, "WorkerProcess", OwnProcess)
    monkeypatch.setattr(workers, "REASON_SECONDS", 0.0)
    return []


def attempt(started: list[str], raises: Exception | None = None) -> Any:
    @contextmanager
    def start(number: int) -> Iterator[SomeWorkers]:
        started.append(f"start {number}")
        try:
            yield SomeWorkers(raises)
        finally:
            started.append(f"removed {number}")

    return start


def test_all_begin_again_when_one_is_lost(artifacts: Artifacts, tmp_path: Path, started: list[str]) -> None:
    OwnProcess.ends = [WorkerLostError("gone"), None]
    assert run_workers(inputs_of(artifacts, tmp_path), attempt(started), 5)
    assert started == ["start 1", "removed 1", "start 2", "removed 2"]


def test_attempts_are_bounded(artifacts: Artifacts, tmp_path: Path, started: list[str]) -> None:
    OwnProcess.ends = [WorkerLostError("worker 1 was evicted")] * 3
    with pytest.raises(TrainingError, match=r"worker 1 was evicted.*attempt 3, the last"):
        run_workers(inputs_of(artifacts, tmp_path), attempt(started), 2)
    assert started[-1] == "removed 3"


@pytest.mark.parametrize("raises", [ModuleError("model.py: no"), TrainingError("worker 1 failed")])
def test_failure_of_a_worker_itself_is_not_tried_again(
    artifacts: Artifacts, tmp_path: Path, started: list[str], raises: Exception
) -> None:
    OwnProcess.ends = [raises]
    with pytest.raises(type(raises), match=str(raises)):
        run_workers(inputs_of(artifacts, tmp_path), attempt(started), 5)
    assert started == ["start 1", "removed 1"]


def test_reason_of_the_other_worker_is_told(
    artifacts: Artifacts, tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "REASON_SECONDS", 5.0)
    OwnProcess.ends = [WorkerLostError("worker 0 lost another one: Socket closed")]
    with pytest.raises(TrainingError, match="worker 1 was killed for want of memory"):
        run_workers(
            inputs_of(artifacts, tmp_path), attempt(started, TrainingError("worker 1 was killed for want of memory")), 5
        )


def test_cancelled_step_removes_the_others(artifacts: Artifacts, tmp_path: Path, started: list[str]) -> None:
    class Cancelled(OwnProcess):
        def check(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    OwnProcess.ends = [None]
    before = signal.getsignal(signal.SIGTERM)
    workers.WorkerProcess = Cancelled  # type: ignore[misc, assignment]  # `started` takes it back
    with pytest.raises(SystemExit):
        run_workers(inputs_of(artifacts, tmp_path), attempt(started), 5)
    assert started == ["start 1", "removed 1"]
    assert signal.getsignal(signal.SIGTERM) == before
