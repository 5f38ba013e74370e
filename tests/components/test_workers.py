"""Several workers train one model: their shards, the processes, and what becomes of the step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.train_model import shard, together, workers
from components.train_model.building import build, choose_acceleration
from components.train_model.config import TrainConfig
from components.train_model.dataset import read_training_data
from components.train_model.features import HELD_SHARE, HeldFeatures, StreamedFeatures
from components.train_model.fitting import Checkpoints, fit
from components.train_model.shard import read_shard
from components.train_model.together import WorkerInputs, WorkerLostError
from components.train_model.workers import LocalWorkers, VertexWorkers, run_workers
from serving.predictor import Predictor
from slipway.compute import Distribution
from slipway.data.examples.dataset import files_of_split
from slipway.errors import ConfigError, DataError, ModuleError, TrainingError
from slipway.runs.training_log import History
from slipway.stores import storage
from tests.fakes.storage_server import StorageServer
from tests.shapes import MODULE, Artifacts, make_transformed, publish, train_parameters
from tests.steps import train

MODEL = (MODULE / "model.py").read_text(encoding="utf-8")
ALL_ROWS = 540  # of the training split, without those held back


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


def spec_of(artifacts: Artifacts) -> dict[str, Any]:
    from tensorflow_transform import TFTransformOutput

    spec: dict[str, Any] = TFTransformOutput(artifacts.graph).transformed_feature_spec()
    return spec


def inputs_of(artifacts: Artifacts, folder: Path, model: str = MODEL, **training: Any) -> WorkerInputs:
    return WorkerInputs(
        transformed_uri=artifacts.transformed,
        features=WorkerInputs.features_of(spec_of(artifacts)),
        model_uri=publish(folder, model=model).model_uri,
        config=TrainConfig.model_validate_json(train_parameters(**training)),
        distribution=Distribution(workers=2),
        accelerator="",
        checkpoints_uri=str(folder / "checkpoints"),
    )


def run_step(
    artifacts: Artifacts,
    folder: Path,
    distribution: dict[str, Any],
    model: str = MODEL,
    accelerator: str = "",
    **training: Any,
) -> History:
    return train(
        *(artifacts.examples, artifacts.graph, artifacts.transformed),
        *(publish(folder, model=model).model_uri, train_parameters(**training), distribution),
        *(str(folder / "checkpoints"), str(folder / "model"), str(folder / "log")),
        accelerator=accelerator,
    )


# Shards


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_hold_each_row_once_and_the_rows_back_that_one_worker_would(artifacts: Artifacts, count: int) -> None:
    config, spec = TrainConfig.model_validate_json(train_parameters()), spec_of(artifacts)
    whole = read_training_data(artifacts.transformed, spec, config)
    shards = [read_shard(artifacts.transformed, spec, config, index, count) for index in range(count)]
    assert {len(shard.train) for shard in shards} == {ALL_ROWS // count}, "all make as many steps"
    assert {shard.counts for shard in shards} == {whole.counts}
    for rows, part in (("train", ALL_ROWS // count * count), ("validation", 60)):
        wanted = whole.features.take(getattr(whole, rows)[:part])
        found = [shard.features.take(getattr(shard, rows)) for shard in shards]
        for name, values in wanted.items():
            np.testing.assert_array_equal(np.concatenate([one[name] for one in found]), values)
    labels = np.concatenate([shard.labels[shard.validation] for shard in shards])
    np.testing.assert_array_equal(labels, whole.labels[whole.validation])


def test_shard_that_memory_cannot_hold_is_streamed_in_the_same_order(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, spec = TrainConfig.model_validate_json(train_parameters()), spec_of(artifacts)
    held = read_shard(artifacts.transformed, spec, config, 1, 2)
    monkeypatch.setattr("components.train_model.shard.memory_limit", lambda: 1)
    streamed = read_shard(artifacts.transformed, spec, config, 1, 2)
    assert isinstance(streamed.features, StreamedFeatures)
    assert not isinstance(held.features, StreamedFeatures)
    for one, other in zip(
        held.training_batches(32, 3, lambda: 5)[0], streamed.training_batches(32, 3, lambda: 5)[0], strict=True
    ):
        for ours, theirs in zip(tf_leaves(one), tf_leaves(other), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("memory", [1, 1 << 40])
def test_feature_of_a_shard_that_is_not_finite_is_named(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    config = TrainConfig.model_validate_json(train_parameters())
    (tmp_path / "split=train").mkdir()
    for file in files_of_split(artifacts.transformed, "train"):
        table = pq.read_table(file, partitioning=None)
        sizes = pa.array([np.inf] * table.num_rows, pa.float32())
        spoilt = table.set_column(table.column_names.index("size"), "size", sizes)
        pq.write_table(spoilt, tmp_path / "split=train" / file.name)
    monkeypatch.setattr("components.train_model.shard.memory_limit", lambda: memory)
    with pytest.raises(ModuleError, match="'size' with NaN or infinity"):
        read_shard(str(tmp_path), spec_of(artifacts), config, 0, 2)


def tf_leaves(batch: Any) -> list[Any]:
    import tensorflow as tf

    return [one.numpy() for one in tf.nest.flatten(batch)]


def test_shards_have_the_weights_of_all_rows(artifacts: Artifacts) -> None:
    config = TrainConfig.model_validate_json(train_parameters(class_weights="balanced"))
    whole = read_training_data(artifacts.transformed, spec_of(artifacts), config)
    shards = [read_shard(artifacts.transformed, spec_of(artifacts), config, index, 2) for index in range(2)]
    assert whole.weights is not None
    found = [shard.weights[shard.train] for shard in shards if shard.weights is not None]
    np.testing.assert_array_equal(np.concatenate(found), whole.weights[whole.train])


def test_more_workers_than_rows_are_refused(artifacts: Artifacts) -> None:
    config = TrainConfig.model_validate_json(train_parameters())
    with pytest.raises(DataError, match="60 held back are too few for 61 workers"):
        read_shard(artifacts.transformed, spec_of(artifacts), config, 0, 61)


def test_workers_of_one_machine_share_its_memory(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    config, spec = TrainConfig.model_validate_json(train_parameters()), spec_of(artifacts)
    files = files_of_split(artifacts.transformed, "train")
    own = 300 * StreamedFeatures(files, spec).row_bytes  # of one of two workers: 270 rows and 30 held back
    monkeypatch.setattr(shard, "memory_limit", lambda: 1.5 * own / HELD_SHARE)
    assert isinstance(read_shard(artifacts.transformed, spec, config, 0, 2).features, HeldFeatures)
    assert isinstance(read_shard(artifacts.transformed, spec, config, 0, 2, sharing=2).features, StreamedFeatures)


def test_worker_streams_from_its_copy_of_a_bucket_until_it_ends(
    artifacts: Artifacts, tmp_path: Path, storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, read = storage_server.uri("transformed"), []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for file in storage.list_files(artifacts.transformed):
        storage.copy(file.uri, storage.join(shared, file.name))
    inputs = inputs_of(artifacts, tmp_path).model_copy(update={"transformed_uri": shared})

    def fit_together(strategy: Any, model: Any, data: Any, *_: Any) -> None:
        assert isinstance(data.features, StreamedFeatures)
        batches, _count = data.training_batches(32, 3, lambda: 0)
        read.extend(batches)
        assert list(tmp_path.glob("slipway-worker-*/split=train/*")), "it is read in each epoch"

    monkeypatch.setattr(shard, "HELD_SHARE", 0.0)
    monkeypatch.setattr(together, "fit_together", fit_together)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda _: tf.distribute.get_strategy())
    together.train_worker(inputs, 0, ["127.0.0.1:1", "127.0.0.1:2"])
    assert len(read) == ALL_ROWS // 2 // 32
    assert not list(tmp_path.glob("slipway-worker-*"))


# The rounds of attempts, with a worker's process that ends as it is told


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


# Vertex

CLUSTER = {
    "chief": ["cmle-training-workerpool0-ab-0:2222"],
    "worker": [f"cmle-training-workerpool1-ab-{i}:2222" for i in (0, 1)],
}


def tf_config(kind: str, index: int) -> dict[str, str]:
    """As https://cloud.google.com/vertex-ai/docs/training/distributed-training#tf-config has it."""
    return {
        "TF_CONFIG": json.dumps({"cluster": CLUSTER, "task": {"type": kind, "index": index}, "environment": "cloud"})
    }


@pytest.mark.parametrize(("kind", "index", "number"), [("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)])
def test_vertex_replica_knows_its_number(kind: str, index: int, number: int) -> None:
    found = VertexWorkers(3, tf_config(kind, index))
    assert (found.index, len(found.hosts), found.hosts[0]) == (number, 3, CLUSTER["chief"][0])


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": "{}"}, {"TF_CONFIG": "no"}, tf_config("ps", 0)])
def test_vertex_step_outside_of_a_custom_job_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"TF_CONFIG = .*custom job"):
        VertexWorkers(3, environment)


def test_vertex_job_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"names 3 replicas, not distribution\.workers = 2"):
        VertexWorkers(2, tf_config("chief", 0))


@pytest.mark.parametrize("is_chief", [True, False])
def test_replica_that_is_not_the_chief_ends_without_outputs(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_chief: bool
) -> None:
    """The others write nothing: outputs are the chief's, from the last checkpoint."""
    asked = []

    def train_alone(inputs: WorkerInputs, start: Any, restarts: int) -> bool:
        asked.append(restarts)
        data = read_training_data(inputs.transformed_uri, inputs.spec, inputs.config)
        model = build(inputs.model_uri, inputs.spec, inputs.config)
        fit(model, data, inputs.config.training, Checkpoints(inputs.checkpoints_uri))
        return is_chief

    monkeypatch.setattr(workers, "run_workers", train_alone)
    for name, value in tf_config("chief" if is_chief else "worker", 0).items():
        monkeypatch.setenv(name, value)
    distribution = {"workers": 3, "target": "vertex"}
    if is_chief:
        history = run_step(artifacts, tmp_path, distribution, epochs=2)
        assert (history.stopped, history.train_rows, history.validation_rows) == ("epochs", ALL_ROWS, 60)
        assert history.resumed_after_epoch is None, "nothing was killed"
        assert Predictor(tmp_path / "model").signatures
        assert not list((tmp_path / "checkpoints").rglob("*.npz"))
    else:
        with pytest.raises(Exception, match="log"):  # there is no history to read
            run_step(artifacts, tmp_path, distribution, epochs=2)
        assert not (tmp_path / "model").exists()
        assert list((tmp_path / "checkpoints").rglob("*.npz")), "the chief has not read them yet"
    assert asked == [0], "Vertex itself starts all replicas again"


def test_step_started_again_after_the_training_starts_no_workers(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "run_workers", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(Checkpoints, "hold_finished", lambda _: True)
    with pytest.raises(Exception, match="last checkpoint is not at"):
        run_step(artifacts, tmp_path, {"workers": 2}, epochs=2)


# GPUs


def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow says that it has a GPU; it computes on the CPU all the same."""
    found = tf.config.get_visible_devices()
    gpu = [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: gpu if kind == "GPU" else found)


def test_workers_train_in_the_precision_of_their_gpus_and_the_model_is_float32(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def train_alone(inputs: WorkerInputs, start: Any, restarts: int) -> bool:
        acceleration = choose_acceleration(inputs.distribution, inputs.accelerator)
        data = read_training_data(inputs.transformed_uri, inputs.spec, inputs.config)
        model = build(inputs.model_uri, inputs.spec, inputs.config, acceleration)
        fit(model, data, inputs.config.training, Checkpoints(inputs.checkpoints_uri))
        trained.append(acceleration.policy)
        return True

    monkeypatch.setattr(workers, "run_workers", train_alone)
    for name, value in tf_config("chief", 0).items():
        monkeypatch.setenv(name, value)
    distribution = {"workers": 3, "target": "vertex", "mixed_precision": "bfloat16"}
    with pytest.raises(TrainingError, match="asked for 1 NVIDIA_L4, and TensorFlow sees 0"):
        run_step(artifacts, tmp_path, distribution, accelerator="1 NVIDIA_L4", epochs=2)
    with_gpu(monkeypatch)
    history = run_step(artifacts, tmp_path, distribution, accelerator="1 NVIDIA_L4", epochs=2)
    assert (trained, len(history.epochs)) == (["mixed_bfloat16"], 2)
    graph = saved_model_pb2.SavedModel.FromString((tmp_path / "model" / "saved_model.pb").read_bytes())
    nodes = [node for function in graph.meta_graphs[0].graph_def.library.function for node in function.node_def]
    assert tf.bfloat16.as_datatype_enum not in {node.attr["T"].type for node in nodes}
    assert Predictor(tmp_path / "model").signatures


def test_workers_on_this_machine_use_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda devices, kind: hidden.append((devices, kind)))
    choose_acceleration(Distribution(workers=2), "")
    assert hidden == [([], "GPU")], "NCCL takes no two processes on one"
    choose_acceleration(Distribution(workers=2, target="vertex"), "")
    choose_acceleration(Distribution(), "")
    assert len(hidden) == 1


# Real processes on loopback

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
