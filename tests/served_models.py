"""A tiny SavedModel with all the signatures of the contract, and ways to break it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from slipway.data.examples.dataset import MANIFEST
from slipway.data.schema import model_inputs, parse_schema
from slipway.data.tensors import MISSING_FLOAT, MISSING_INT, serialize_examples
from slipway.evaluation.golden import Golden, read_golden, write_golden
from slipway.stores.model_store import LocalModelStore
from tests.model_files import provenance

SCHEMA = """
feature { name: "size" type: FLOAT value_count { min: 1 max: 1 } }
feature { name: "rooms" type: INT value_count { min: 1 max: 1 } }
feature { name: "town" type: BYTES value_count { min: 1 max: 1 } }
feature { name: "label" type: INT not_in_environment: "SERVING" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""

Fault = Callable[["TinyModel"], None]


class TinyModel(tf.Module):  # type: ignore[misc]
    """A logistic regression on size, rooms and the length of the town's name; missing values count as 0."""

    def __init__(self, classification: bool = True) -> None:
        super().__init__()
        self.weights = tf.Variable([0.3, -0.2, 0.1], dtype=tf.float32)
        self.classification = classification
        # What a test may replace, to break one thing.
        self.fill_size: Callable[[Any], Any] = lambda size: tf.where(tf.math.is_nan(size), 0.0, size)
        self.rows_of: Callable[[Any, Any, Any], Any] = lambda *inputs: tf.reduce_max([tf.shape(i)[0] for i in inputs])
        self.finish: Callable[[Any], Any] = lambda predictions: predictions
        self.finish_examples: Callable[[Any], Any] = lambda predictions: predictions
        self.scores: Callable[[Any], Any] = lambda p: tf.stack([1 - p, p], axis=1)

    def transform(self, size: Any, rooms: Any, town: Any) -> dict[str, Any]:
        rooms = tf.where(rooms == MISSING_INT, tf.zeros_like(rooms), rooms)
        length = tf.strings.length(town)
        return {
            "size": self.fill_size(size),
            "rooms": tf.cast(rooms, tf.float32),
            "length": tf.cast(length, tf.float32),
        }

    def answer(self, size: Any, rooms: Any, town: Any) -> Any:
        features = self.transform(size, rooms, town)
        logits = tf.linalg.matvec(tf.stack([features["size"], features["rooms"], features["length"]], 1), self.weights)
        return self.finish(tf.math.sigmoid(logits) if self.classification else logits)

    def parse(self, examples: Any) -> dict[str, Any]:
        missing = {"size": MISSING_FLOAT, "rooms": MISSING_INT, "town": b""}
        dtypes = {"size": tf.float32, "rooms": tf.int64, "town": tf.string}
        parsed = tf.io.parse_example(examples, {name: tf.io.VarLenFeature(dtypes[name]) for name in missing})
        return {
            name: tf.sparse.to_dense(tf.sparse.reset_shape(value, [tf.size(examples), 1]), missing[name])[:, 0]
            for name, value in parsed.items()
        }

    def signatures(self) -> dict[str, Any]:
        strings = tf.TensorSpec([None], tf.string, name="examples")

        def raw(size: Any, rooms: Any, town: Any) -> dict[str, Any]:
            count = self.rows_of(size, rooms, town)
            return {"predictions": self.answer(*(tf.broadcast_to(each, [count]) for each in (size, rooms, town)))}

        def serving_default(examples: Any) -> dict[str, Any]:
            return {"predictions": self.finish_examples(self.answer(**self.parse(examples)))}

        def classify(inputs: Any) -> dict[str, Any]:
            scores = self.scores(self.answer(**self.parse(inputs)))
            return {"classes": tf.tile([["no", "yes"]], [tf.shape(scores)[0], 1]), "scores": scores}

        def transform_features(examples: Any) -> dict[str, Any]:
            return self.transform(**self.parse(examples))

        named = {
            "size": tf.TensorSpec([None], tf.float32, name="size"),
            "rooms": tf.TensorSpec([None], tf.int64, name="rooms"),
            "town": tf.TensorSpec([None], tf.string, name="town"),
        }
        signatures = {
            "raw": tf.function(raw, autograph=False).get_concrete_function(**named),
            "serving_default": tf.function(serving_default, autograph=False).get_concrete_function(strings),
            "transform_features": tf.function(transform_features, autograph=False).get_concrete_function(strings),
        }
        if self.classification:
            inputs = tf.TensorSpec([None], tf.string, name="inputs")
            signatures["classify"] = tf.function(classify, autograph=False).get_concrete_function(inputs)
        return signatures


def read_inputs() -> list[schema_pb2.Feature]:
    return model_inputs(parse_schema(SCHEMA))


def rows(count: int = 40) -> pa.Table:
    rng = np.random.default_rng(3)
    missing = rng.random((3, count)) < 0.1
    return pa.table(
        {
            "size": pa.array(rng.normal(size=count), mask=missing[0]),
            "rooms": pa.array(rng.integers(1, 6, count), mask=missing[1]),
            "town": pa.array([["Ulm", "Bonn", "Berlin"][i % 3] for i in range(count)], mask=missing[2]),
            "label": rng.integers(0, 2, count),
        }
    )


def write_examples(folder: Path) -> Path:
    for split in ("train", "eval"):
        (folder / f"split={split}").mkdir(parents=True)
        pq.write_table(rows(), folder / f"split={split}" / "part-0.parquet")
    (folder / MANIFEST).touch()
    return folder


def write_schema(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.pbtxt").write_text(SCHEMA)
    return folder


def write_saved_model(folder: Path, model: TinyModel | None = None) -> Path:
    """Saves the model as train_model does: method name, defaults, golden and warm-up requests."""
    model = model or TinyModel()
    tf.saved_model.save(model, str(folder), signatures=model.signatures())
    edit_signatures(folder, _as_exported)
    examples = serialize_examples(rows(8), read_inputs())
    answers = model.answer(**model.parse(tf.constant(examples))).numpy()
    write_golden(Golden.of(examples, answers.tolist()), folder)
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "serving_default"
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto(examples, dtype=tf.string))
    write_warmup(folder, prediction_log_pb2.PredictionLog(predict_log={"request": request}).SerializeToString())
    return folder


def write_warmup(folder: Path, record: bytes) -> None:
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(record)


def edit_signatures(folder: Path, edit: Callable[[Any], None]) -> None:
    """Edits the map of `SignatureDef`s in saved_model.pb."""
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    edit(saved.meta_graphs[0].signature_def)
    path.write_bytes(saved.SerializeToString())


def _as_exported(signatures: Any) -> None:
    if "classify" in signatures:
        signatures["classify"].method_name = "tensorflow/serving/classify"
    defaults = {"size": [MISSING_FLOAT], "rooms": [MISSING_INT], "town": [b""]}
    dtypes = {"size": tf.float32, "rooms": tf.int64, "town": tf.string}
    for name, value in defaults.items():
        signatures["raw"].defaults[name].CopyFrom(tf.make_tensor_proto(value, dtype=dtypes[name]))


def push_three(folder: Path) -> LocalModelStore:
    """A store in `folder` with two models, and a third one whose golden answers are the first one's."""
    store = LocalModelStore(folder / "store")
    for number in range(3):
        model = TinyModel()
        model.weights.assign([0.3, -0.2, 0.1 + number])
        saved = write_saved_model(folder / f"model-{number}", model)
        if number == 2:
            write_golden(read_golden(folder / "model-0"), saved)
        store.push(saved, provenance())
    return store
