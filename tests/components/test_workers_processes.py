"""Two real workers on loopback: the same loss as one, equal weights, and one that is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from components.train_model import workers
from components.train_model.fitting import Checkpoints
from components.train_model.workers import LocalWorkers, run_workers
from serving.predictor import Predictor
from slipway.compute import Distribution
from slipway.errors import ModuleError
from slipway.runs.training_log import History
from slipway.stores import storage
from tests.components.worker_inputs import ALL_ROWS, MODEL, inputs_of, run_step
from tests.fakes.storage_server import StorageServer
from tests.shapes import Artifacts, make_transformed


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


ALIKE = """
import sys
from components.train_model import together
save = together.Checkpoints
if sys.argv[5:]:
    import tensorflow as tf
    gpu = [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    tf.config.get_visible_devices = lambda kind=None: gpu
index, hosts, inputs, folder = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3], sys.argv[4]
together.Checkpoints = lambda uri, writable: save(f"{folder}/{index}")  # each writes its own
together.train_worker(together.WorkerInputs.model_validate_json(inputs), index, hosts)
import os; os._exit(0)
"""
# Dropout and the means of a batch normalisation differ by batch.
UNTRAINED = MODEL.replace(
    "    model = keras.Model(", "    hidden = keras.layers.BatchNormalization()(hidden)\n    model = keras.Model("
)
WITHOUT_CHANCE = MODEL.replace("Dropout(0.1)", "Dropout(0.0)")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_on_the_same_batch_train_as_one(artifacts: Artifacts, tmp_path: Path) -> None:
    """With all rows in one batch, what two workers make of it is what one makes."""
    one = run_step(artifacts, tmp_path / "one", {}, WITHOUT_CHANCE, batch_size=ALL_ROWS, epochs=6)
    two = run_step(artifacts, tmp_path / "two", {"workers": 2}, WITHOUT_CHANCE, batch_size=ALL_ROWS, epochs=6)
    assert two.epochs[-1].loss < 0.8 * two.epochs[0].loss
    for ours, theirs in zip(two.epochs, one.epochs, strict=True):
        np.testing.assert_allclose([ours.loss, ours.val_loss], [theirs.loss, theirs.val_loss], rtol=1e-4)
        assert ours.metrics.keys() == theirs.metrics.keys()
        np.testing.assert_allclose(list(ours.metrics.values()), list(theirs.metrics.values()), atol=1e-3)
    assert Predictor(tmp_path / "two" / "model").signatures


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_worker_makes_all_begin_again_from_the_checkpoint(artifacts: Artifacts, tmp_path: Path) -> None:
    inputs = inputs_of(artifacts, tmp_path, epochs=12, patience=0)
    killed: list[None] = []

    def kill(others: LocalWorkers) -> None:
        while not list(Path(inputs.checkpoints_uri).glob("*.npz")):
            time.sleep(0.01)
        others.processes[0].kill()
        killed.append(None)

    @contextmanager
    def start(number: int) -> Iterator[LocalWorkers]:
        with LocalWorkers(inputs, 2) as others:
            if number == 1:
                threading.Thread(target=kill, args=[others], daemon=True).start()
            yield others

    assert run_workers(inputs, start, 2)
    assert len(killed) == 1
    [(state, _), *_] = sorted(
        Checkpoints(inputs.checkpoints_uri).load(), key=lambda one: -len(json.loads(one[0])["history"]["epochs"])
    )
    history = History.model_validate(json.loads(state)["history"])
    assert history.stopped == "epochs"
    assert len(history.epochs) == 12
    assert history.resumed_after_epoch
    assert 0 < history.resumed_after_epoch < 12


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("precision", ["none", "bfloat16"])
def test_weights_of_all_workers_are_equal(artifacts: Artifacts, tmp_path: Path, precision: Any) -> None:
    gpu = [] if precision == "none" else ["1 nvidia.com/gpu"]
    distribution = Distribution(workers=2, target="kubeflow", mixed_precision=precision)
    inputs = inputs_of(artifacts, tmp_path, UNTRAINED, epochs=3)
    inputs = inputs.model_copy(update={"distribution": distribution, "accelerator": "".join(gpu)})
    hosts = ",".join(f"127.0.0.1:{port}" for port in workers.free_ports(2))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ALIKE, str(index), hosts, inputs.model_dump_json(), str(tmp_path), *gpu]
        )
        for index in range(2)
    ]
    assert [process.wait(500) for process in started] == [0, 0]
    for slot in ("a.npz", "b.npz"):
        one, two = (dict(np.load(tmp_path / str(index) / slot)) for index in range(2))
        assert one.keys() == two.keys()
        for name in one.keys() - {"__state__"}:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)


class PodWorkers:
    """One other worker by the command of its pod, with the data in a bucket."""

    index, poll_seconds = 0, 0.5

    def __init__(self, inputs_uri: str) -> None:
        self.hosts = [f"127.0.0.1:{port}" for port in workers.free_ports(2)]
        command = [sys.executable, "-m", "components.train_model.worker", inputs_uri, json.dumps(self.hosts)]
        self._pod = subprocess.Popen(command, env={**os.environ, "JOB_COMPLETION_INDEX": "0"})

    def __enter__(self) -> PodWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.code = self._pod.wait(60)
        finally:
            self._pod.kill()

    def check(self) -> None: ...


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_worker_by_the_command_of_its_pod_reads_its_data_from_a_bucket(
    artifacts: Artifacts, tmp_path: Path, storage_server: StorageServer
) -> None:
    shared, inputs_uri = storage_server.uri("transformed"), storage_server.uri("inputs.json")
    for file in storage.list_files(artifacts.transformed):
        storage.copy(file.uri, storage.join(shared, file.name))
    inputs = inputs_of(artifacts, tmp_path, epochs=2)
    storage.write_text(inputs_uri, inputs.model_copy(update={"transformed_uri": shared}).model_dump_json())
    pods = PodWorkers(inputs_uri)
    assert run_workers(inputs, lambda _: pods, 0)
    assert pods.code == 0
    assert Checkpoints(inputs.checkpoints_uri).hold_finished()


ORPHAN = """
import sys, time
from components.train_model.together import WorkerInputs
from components.train_model.workers import WorkerProcess
if __name__ == "__main__":
    its = WorkerProcess(WorkerInputs.model_validate_json(sys.argv[1]), 1, ["127.0.0.1:9", "127.0.0.1:10"])
    print(its.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_end_with_the_step(artifacts: Artifacts, tmp_path: Path) -> None:
    script = tmp_path / "step.py"
    script.write_text(ORPHAN)
    inputs = inputs_of(artifacts, tmp_path).model_dump_json()
    step = subprocess.Popen(
        [sys.executable, str(script), inputs],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert step.stdout
    worker = psutil.Process(int(step.stdout.readline()))
    step.kill()
    step.communicate()
    worker.wait(120)  # raises TimeoutExpired
    assert not worker.is_running()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_failure_of_one_worker_is_the_steps(artifacts: Artifacts, tmp_path: Path) -> None:
    inputs = inputs_of(artifacts, tmp_path, "def build_model(features, hyperparameters):\n    raise ValueError(7)\n")
    with pytest.raises(ModuleError, match="ValueError: 7"):
        run_workers(inputs, lambda _: LocalWorkers(inputs, 2), 5)
