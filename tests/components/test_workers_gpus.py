"""Workers on GPUs; TensorFlow says that it has some, and computes on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.train_model import workers
from components.train_model.building import build, choose_acceleration
from components.train_model.dataset import read_training_data
from components.train_model.fitting import Checkpoints, fit
from components.train_model.together import WorkerInputs
from serving.predictor import Predictor
from slipway.compute import Distribution
from slipway.errors import TrainingError
from tests.components.worker_inputs import run_step, tf_config
from tests.shapes import Artifacts, make_transformed


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


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
