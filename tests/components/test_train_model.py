from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.train_model.config import TrainConfig
from components.train_model.dataset import hold_back, read_training_data
from serving.predictor import Predictor
from slipway.data.schema import model_inputs, read_schema
from slipway.data.tensors import raw_inputs, serialize_examples
from slipway.errors import ConfigError, DataError, ModuleError, StoreError, TrainingError
from slipway.evaluation.golden import read_golden
from slipway.runs.training_log import History
from tests.shapes import MODULE, Artifacts, make_transformed, publish, train_parameters
from tests.small_disk import mount_small_disk
from tests.steps import train

MODEL = (MODULE / "model.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


def run(
    artifacts: Artifacts, folder: Path, model: str = MODEL, fields: dict[str, Any] | None = None, **training: Any
) -> History:
    return train(
        artifacts.examples,
        artifacts.graph,
        artifacts.transformed,
        publish(folder, model=model).model_uri,
        train_parameters(**training),
        {},
        str(artifacts.folder / "checkpoints"),
        str(folder / "model"),
        str(folder / "log"),
        **(fields or {}),
    )


@pytest.fixture(scope="module")
def history(artifacts: Artifacts) -> History:
    return run(artifacts, artifacts.folder)


@pytest.fixture(scope="module")
def predictor(artifacts: Artifacts, history: History) -> Predictor:
    return Predictor(artifacts.model)


def eval_rows(artifacts: Artifacts) -> Any:
    return pq.read_table(f"{artifacts.examples}/split=eval")


def losses(history: History) -> list[float]:
    return [epoch.val_loss for epoch in history.epochs]


def test_train_learns_and_writes_its_history(artifacts: Artifacts, history: History) -> None:
    written = json.loads((artifacts.folder / "log" / "history.json").read_text(encoding="utf-8"))
    assert written == json.loads(history.model_dump_json())
    assert history.stopped == "epochs"
    assert len(history.epochs) == 6
    assert history.validation_rows == 60
    assert history.train_rows == 540
    assert history.epochs[-1].metrics["val_accuracy"] > 0.85
    assert list((artifacts.folder / "log" / "tensorboard").glob("events.*"))


def test_train_removes_its_checkpoints_when_done(artifacts: Artifacts, history: History) -> None:
    assert not list((artifacts.folder / "checkpoints").rglob("*.npz"))


@pytest.mark.slow
def test_train_same_inputs_give_the_same_predictions(
    artifacts: Artifacts, history: History, predictor: Predictor, tmp_path: Path
) -> None:
    again = run(artifacts, tmp_path)
    assert losses(again) == losses(history)
    raw = raw_inputs(eval_rows(artifacts), model_inputs(read_schema(artifacts.schema)))
    np.testing.assert_array_equal(Predictor(tmp_path / "model").predict(raw), predictor.predict(raw))


def test_export_every_signature_answers_the_same(artifacts: Artifacts, predictor: Predictor) -> None:
    rows = eval_rows(artifacts)
    features = model_inputs(read_schema(artifacts.schema))
    examples = np.array(serialize_examples(rows, features), object)
    expected = predictor.predict(raw_inputs(rows, features))
    assert expected.shape == (300, 3)
    answered = predictor.call("serving_default", {"examples": examples})["predictions"]
    np.testing.assert_allclose(answered, expected, atol=1e-6)
    classified = predictor.call("classify", {"inputs": examples})
    np.testing.assert_allclose(classified["scores"], expected, atol=1e-6)
    assert classified["classes"][0].tolist() == [b"circle", b"square", b"triangle"]


def test_export_transform_features_equals_the_materialised_data(artifacts: Artifacts, predictor: Predictor) -> None:
    rows = eval_rows(artifacts)
    examples = serialize_examples(rows, model_inputs(read_schema(artifacts.schema)))
    answers = predictor.call("transform_features", {"examples": np.array(examples, object)})
    materialised = pq.read_table(f"{artifacts.transformed}/split=eval")
    assert set(answers) == set(materialised.column_names) - {"shape"}
    for name, values in answers.items():
        # TensorFlow may divide by a constant as it multiplies by its inverse: the last bit may differ.
        np.testing.assert_array_max_ulp(values, np.array(materialised[name].to_pylist(), values.dtype), maxulp=2)


def test_export_golden_answers_come_from_training_and_include_missing_values(
    artifacts: Artifacts, predictor: Predictor
) -> None:
    golden = read_golden(artifacts.model)
    answers = predictor.call("serving_default", {"examples": np.array(golden.serialized(), object)})
    np.testing.assert_allclose(answers["predictions"], golden.predictions, atol=1e-6)
    assert 8 <= len(golden.predictions) <= 64


def test_export_has_defaults_and_methods_as_tensorflow_serving_reads_them(
    artifacts: Artifacts, history: History
) -> None:
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((artifacts.model / "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    assert signatures["classify"].method_name == "tensorflow/serving/classify"
    defaults = {name: tf.make_ndarray(value) for name, value in signatures["raw"].defaults.items()}
    assert set(defaults) == set(signatures["raw"].inputs)
    assert defaults["words"].tolist() == [[b""]]
    assert defaults["seen_at"].tolist() == [np.iinfo(np.int64).min]
    assert np.isnan(defaults["points"]).all()
    assert defaults["points"].shape == (1, 4)
    assert tf.saved_model.experimental.read_fingerprint(str(artifacts.model)).saved_model_checksum


def test_export_a_session_answers_as_the_python_loader_does(artifacts: Artifacts, predictor: Predictor) -> None:
    """A session restores variables by the saved names, as TensorFlow Serving does; the Python loader by objects."""
    import tensorflow as tf

    examples = read_golden(artifacts.model).serialized()
    expected = predictor.call("serving_default", {"examples": np.array(examples, object)})["predictions"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(artifacts.model))
        signature = graph.signature_def["serving_default"]
        answered = session.run(signature.outputs["predictions"].name, {signature.inputs["examples"].name: examples})
    np.testing.assert_allclose(answered, expected, atol=1e-6)


def test_export_default_of_one_row_stands_for_the_batch(artifacts: Artifacts, predictor: Predictor) -> None:
    features = model_inputs(read_schema(artifacts.schema))
    rows = eval_rows(artifacts).slice(0, 5)
    raw = raw_inputs(rows, features)
    without = raw_inputs(rows.drop_columns(["size"]), features)
    answered = predictor.call("raw", {**raw, "size": np.array([np.nan], np.float32)})["predictions"]
    np.testing.assert_array_equal(answered, predictor.call("raw", without)["predictions"])


def test_export_warmup_requests_are_prediction_logs_of_several_sizes(artifacts: Artifacts, history: History) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    path = artifacts.model / "assets.extra" / "tf_serving_warmup_requests"
    logs = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    names = [
        (log.predict_log if log.HasField("predict_log") else log.classify_log).request.model_spec.signature_name
        for log in logs
    ]
    assert sorted(names) == ["classify"] * 2 + ["raw"] * 2 + ["serving_default"] * 2
    sizes = [log.predict_log.request.inputs["examples"].tensor_shape.dim[0].size for log in logs[::3]]
    assert sizes == [1, 64]


def test_train_early_stopping_keeps_the_best_weights(artifacts: Artifacts, tmp_path: Path) -> None:
    worsening = MODEL.replace('hyperparameters["learning_rate"]', "1.5")
    history = run(artifacts, tmp_path, worsening, patience=2, epochs=30)
    assert history.stopped == "early_stopping"
    assert len(history.epochs) == history.best_epoch + 2
    assert min(losses(history)) == losses(history)[history.best_epoch - 1]


@pytest.mark.slow
def test_train_flat_validation_loss_stops_early_with_the_first_epochs_weights(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    flat = MODEL.replace('hyperparameters["learning_rate"]', "0.0")
    history = run(artifacts, tmp_path, flat, patience=2, epochs=30)
    assert len(set(losses(history))) == 1
    assert history.stopped == "early_stopping"
    assert (history.best_epoch, len(history.epochs)) == (1, 3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    model.compile(", "    dict(", "not compiled"),
        ("Dense(3, activation", "Dense(2, activation", r"shape \(None, 2\), but task multiclass needs \(None, 3\)"),
        ('activation="softmax"', "activation=None", "not probabilities: end it with a softmax"),
        ('activation="softmax"', 'activation="sigmoid"', "add up to .* not 1: end the model with a softmax"),
        ("return model", "return None", "returns a keras.Model, not NoneType"),
        ('features["size"]', 'features["sice"]', r"shapes/model.py:\d+: KeyError: 'sice'"),
        ("sparse_categorical_crossentropy", "categorical_crossentropy", "cannot be trained on these features"),
    ],
)  # fmt: skip
def test_train_model_that_breaks_the_contract_says_how(
    artifacts: Artifacts, tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in MODEL
    with pytest.raises(ModuleError, match=message):
        run(artifacts, tmp_path, MODEL.replace(old, new))


def test_train_diverging_loss_fails_with_advice(artifacts: Artifacts, tmp_path: Path) -> None:
    nan = MODEL.replace('"sparse_categorical_crossentropy"', "lambda y, p: keras.ops.log(-p[:, 0])")
    with pytest.raises(TrainingError, match="loss is nan in epoch 1: the training diverged"):
        run(artifacts, tmp_path, nan)


def test_train_unknown_label_value_names_it(artifacts: Artifacts, tmp_path: Path) -> None:
    parameters = json.dumps({**json.loads(train_parameters()), "classes": ["circle", "square", "star"]})
    with pytest.raises(DataError, match="'triangle' is none of the classes circle, square, star"):
        train(
            *(artifacts.examples, artifacts.graph, artifacts.transformed),
            *(publish(tmp_path).model_uri, parameters, {}),
            *(str(tmp_path / "checkpoints"), str(tmp_path / "model"), str(tmp_path / "log")),
        )


def train_with(artifacts: Artifacts, folder: Path, code: str = MODEL, **fields: Any) -> History:
    parameters = json.dumps({**json.loads(train_parameters(epochs=3)), "hyperparameters": {"units": 8, "rate": 0.1}})
    return train(
        *(artifacts.examples, artifacts.graph, artifacts.transformed),
        *(publish(folder, model=code).model_uri, parameters, {}),
        *(str(folder / "checkpoints"), str(folder / "model"), str(folder / "log")),
        **fields,
    )


def test_train_fields_of_the_form_take_the_place_of_the_modules_values(artifacts: Artifacts, tmp_path: Path) -> None:
    code = "def build_model(features, hyperparameters):\n    raise ValueError(repr(hyperparameters))\n"
    with pytest.raises(ModuleError, match=r"\{'units': 16, 'rate': 0.1\}"):
        train_with(artifacts, tmp_path, code, hyperparameters='{"units": 16}')
    assert len(run(artifacts, tmp_path, fields={"epochs": 1.0}, epochs=3).epochs) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"epochs": 0}, r"training\.epochs = 0"),
        ({"hyperparameters": "{units: 16}"}, r"'\{units: 16\}' is not JSON.*\{\"units\": 8"),
        ({"hyperparameters": "[16]"}, "no JSON object"),
        ({"hyperparameters": '{"unit": 16}'}, "unit: .*module.yaml.*did you mean 'units'"),
        ({"hyperparameters": '{"units": null}'}, "null is not allowed"),
        ({"hyperparameters": '{"rate": NaN}'}, "finite"),
    ],
)
def test_train_wrong_field_is_refused_with_its_value(
    artifacts: Artifacts, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        train_with(artifacts, tmp_path, **fields)


def test_train_hyperparameters_reach_the_model_with_their_types(artifacts: Artifacts, tmp_path: Path) -> None:
    given = {"whole": 1, "real": 1.0, "large": 9007199254740993, "nested": {"list": [8, 8.0, True, "8"]}}
    code = "def build_model(features, hyperparameters):\n    raise ValueError(repr(hyperparameters))\n"
    parameters = json.dumps({**json.loads(train_parameters()), "hyperparameters": given})
    with pytest.raises(ModuleError) as caught:
        train(
            *(artifacts.examples, artifacts.graph, artifacts.transformed),
            *(publish(tmp_path, model=code).model_uri, parameters, {}),
            *(str(tmp_path / "checkpoints"), str(tmp_path / "model"), str(tmp_path / "log")),
        )
    assert repr(given) in str(caught.value)


@pytest.mark.slow
def test_train_killed_resumes_and_ends_as_if_it_had_not_been(
    artifacts: Artifacts, history: History, tmp_path: Path
) -> None:
    """Kills a process that trains after its second checkpoint, and starts the step again."""
    checkpoints = artifacts.folder / "checkpoints"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from components.train_model.fitting import Checkpoints\n"
        "from tests.components.test_train_model import run\n"
        "from tests.shapes import Artifacts\n"
        "save = Checkpoints.save\n"
        "def slow(self, epoch, arrays, state):\n"
        "    save(self, epoch, arrays, state)\n"
        "    time.sleep(60 if epoch == 3 else 0)\n"
        "Checkpoints.save = slow\n"
        "run(Artifacts(Path(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(artifacts.folder), str(tmp_path)])
    try:
        while process.poll() is None and len(list(checkpoints.rglob("*.npz"))) < 2:
            time.sleep(0.05)
        time.sleep(0.5)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = run(artifacts, tmp_path)
    assert resumed.resumed_after_epoch in (2, 3)
    np.testing.assert_allclose(losses(resumed), losses(history), rtol=1e-6)


def test_train_distributed_trains_and_exports_the_same_model(
    artifacts: Artifacts, history: History, tmp_path: Path
) -> None:
    inputs = (artifacts.examples, artifacts.graph, artifacts.transformed)
    outputs = [str(tmp_path / name) for name in ("checkpoints", "model", "log")]
    uri = publish(tmp_path).model_uri
    distributed = train(*inputs, uri, train_parameters(epochs=2), {"strategy": "mirrored"}, *outputs)
    np.testing.assert_allclose(losses(distributed), losses(history)[:2], rtol=1e-3)
    raw = raw_inputs(eval_rows(artifacts), model_inputs(read_schema(artifacts.schema)))
    assert Predictor(tmp_path / "model").predict(raw).shape == (300, 3)


@pytest.mark.slow
def test_replicas_of_one_machine_train_to_the_same_losses(
    artifacts: Artifacts, history: History, tmp_path: Path
) -> None:
    two_devices = (
        "import json, sys, tensorflow as tf; [cpu] = tf.config.list_physical_devices('CPU'); "
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2); "
        "assert tf.distribute.MirroredStrategy().num_replicas_in_sync == 2; "
        "from tests.steps import train; print(train(*json.loads(sys.argv[1])).model_dump_json())"
    )
    inputs = (artifacts.examples, artifacts.graph, artifacts.transformed, publish(tmp_path).model_uri)
    outputs = [str(tmp_path / name) for name in ("checkpoints", "model", "log")]
    asked = json.dumps([*inputs, train_parameters(epochs=2), {"strategy": "mirrored"}, *outputs])
    done = subprocess.run([sys.executable, "-c", two_devices, asked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    distributed = History.model_validate_json(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(losses(distributed), losses(history)[:2], rtol=1e-2)


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """TensorFlow says that it has GPUs; it computes on the CPU all the same."""
    import tensorflow as tf

    found = tf.config.get_visible_devices()
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{number}", "GPU") for number in range(count)]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: gpus if kind == "GPU" else found)


def train_on(artifacts: Artifacts, folder: Path, distribution: dict[str, Any], **more: Any) -> History:
    places = [str(folder / name) for name in ("checkpoints", "model", "log")]
    inputs = (artifacts.examples, artifacts.graph, artifacts.transformed, publish(folder).model_uri)
    return train(*inputs, train_parameters(epochs=2), distribution, *places, **more)


@pytest.mark.parametrize(("given", "asked"), [(0, "1 NVIDIA_L4"), (1, "2 nvidia.com/gpu")])
def test_train_with_fewer_gpus_than_it_asked_for_does_not_begin(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int, asked: str
) -> None:
    with_gpus(monkeypatch, given)
    with pytest.raises(TrainingError, match=rf"asked for {asked}, and TensorFlow sees {given}: .*ACCELERATOR=gpu"):
        train_on(artifacts, tmp_path, {}, accelerator=asked)


def test_train_without_a_gpu_leaves_off_what_is_for_gpus_and_says_so(
    artifacts: Artifacts, history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train_on(artifacts, tmp_path, {"mixed_precision": "bfloat16", "xla": True})
    assert losses(plain) == losses(history)[:2]
    assert "No GPU is here: mixed precision and XLA are left off" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_train_with_mixed_precision_learns_and_exports_a_float32_model(
    artifacts: Artifacts, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    import keras

    with_gpus(monkeypatch, 1)
    mixed = train_on(artifacts, tmp_path, {"mixed_precision": precision}, accelerator="1 NVIDIA_L4")
    assert losses(mixed) != losses(history)[:2], "it computes in another type"
    np.testing.assert_allclose(losses(mixed), losses(history)[:2], rtol=0.1)
    assert keras.config.dtype_policy().name == "float32", "for what is built next in this process"
    graph = (tmp_path / "model" / "saved_model.pb").read_bytes()
    types = {node.attr["T"].type for node in nodes_of(graph)}
    assert types & {1, 3}, "float and int32"
    assert not types & {14, 19}, "neither bfloat16 nor half"
    predictor = Predictor(tmp_path / "model")
    raw = raw_inputs(eval_rows(artifacts), model_inputs(read_schema(artifacts.schema)))
    np.testing.assert_allclose(predictor.predict(raw).sum(axis=1), 1, atol=1e-5)


def nodes_of(saved_model: bytes) -> list[Any]:
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString(saved_model).meta_graphs[0].graph_def
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]


def test_train_with_xla_compiles_and_else_not_whatever_keras_would_choose(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorflow_transform import TFTransformOutput

    from components.train_model.building import build, choose_acceleration
    from slipway.compute import Distribution

    spec = TFTransformOutput(artifacts.graph).transformed_feature_spec()
    with_gpus(monkeypatch, 1)
    for xla in (True, False):
        acceleration = choose_acceleration(Distribution(xla=xla), "1 NVIDIA_L4")
        config = TrainConfig.model_validate_json(train_parameters())
        assert build(publish(artifacts.folder).model_uri, spec, config, acceleration).jit_compile is xla


@pytest.mark.parametrize("last", ["transform_graph/transform_fn/saved_model.pb", "transformed/_SUCCESS"])
def test_train_on_half_written_inputs_says_which_step_was_stopped(
    artifacts: Artifacts, tmp_path: Path, last: str
) -> None:
    for name in ("examples", "schema", "transform_graph", "transformed"):
        shutil.copytree(artifacts.folder / name, tmp_path / name)
    (tmp_path / last).unlink()
    with pytest.raises(StoreError, match=rf"{last} is missing: .*transform_features was stopped"):
        run(Artifacts(tmp_path), tmp_path)


@pytest.mark.slow
def test_train_that_cannot_write_its_model_resumes_after_the_last_epoch(artifacts: Artifacts, tmp_path: Path) -> None:
    inputs = (artifacts.examples, artifacts.graph, artifacts.transformed)
    uri, others = publish(tmp_path).model_uri, [str(tmp_path / name) for name in ("checkpoints", "model", "log")]
    with mount_small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(StoreError, match=r"disk/model/.*: cannot write: No space left.*; make room"):
            train(*inputs, uri, train_parameters(epochs=1), {}, others[0], str(disk / "model"), others[2])
        assert not (disk / "model" / "saved_model.pb").exists()
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "variables" / "left").touch()
    again = train(*inputs, uri, train_parameters(epochs=1), {}, *others)
    assert again.resumed_after_epoch == len(again.epochs)
    assert not (tmp_path / "model" / "variables" / "left").exists()
    assert Predictor(tmp_path / "model").signatures


def test_training_data_feature_that_is_not_finite_is_named(artifacts: Artifacts, tmp_path: Path) -> None:
    from tensorflow_transform import TFTransformOutput

    spec = TFTransformOutput(artifacts.graph).transformed_feature_spec()
    folder = tmp_path / "split=train"
    folder.mkdir()
    table = pq.read_table(f"{artifacts.transformed}/split=train/part-0.parquet", partitioning=None)
    sizes = pa.array([np.nan] * 3 + table["size"].to_pylist()[3:], pa.float32())
    pq.write_table(table.set_column(table.column_names.index("size"), "size", sizes), folder / "part-0.parquet")
    with pytest.raises(ModuleError, match="'size' with NaN or infinity in 3 places"):
        read_training_data(str(tmp_path), spec, TrainConfig.model_validate_json(train_parameters()))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_hold_back_takes_the_same_share_of_each_class(share: float) -> None:
    labels = np.repeat([0, 1, 2], [700, 200, 100]).reshape(-1, 1)
    held = hold_back(labels, share, seed=3)
    assert held.sum() == share * 1000
    np.testing.assert_allclose(np.bincount(labels[held, 0]), share * np.array([700, 200, 100]), atol=1)
    np.testing.assert_array_equal(held, hold_back(labels, share, seed=3))
    assert (held != hold_back(labels, share, seed=4)).any()


def test_hold_back_takes_low_and_high_numbers_alike() -> None:
    labels = np.random.default_rng(1).lognormal(size=300).astype(np.float32)
    held = hold_back(labels, 0.1, seed=1)
    assert held.sum() == 30
    ranks = np.argsort(np.argsort(labels))[held]
    np.testing.assert_array_equal(np.histogram(ranks, bins=30, range=(0, 300))[0], np.ones(30))


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_hold_back_leaves_rows_on_both_sides(rows: int) -> None:
    assert 0 < hold_back(np.zeros((rows, 1)), 0.1, seed=1).sum() < rows
