"""The SavedModel that is served: the module's model with the transform inside, behind four signatures.

| Signature            | Takes                                | Answers                                        |
|----------------------|--------------------------------------|------------------------------------------------|
| `serving_default`    | `examples`: serialized tf.Examples   | `predictions`                                  |
| `raw`                | one tensor per feature, with markers | `predictions`                                  |
| `classify`           | `inputs`: serialized tf.Examples     | `classes`, `scores`; TensorFlow Serving's form |
| `transform_features` | `examples`                           | the transformed features                       |

`predictions` is float32 `[batch]`, for multiclass `[batch, classes]`. A regression has no `classify`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from slipway.features import RawFeatures
from slipway.tensors import dtype_of, fixed_shape, is_list, marker_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorflow_metadata.proto.v0 import schema_pb2

    from slipway.module_api import Task

CLASSIFY_METHOD = "tensorflow/serving/classify"
Tensors = dict[str, Any]


class ServedModel(tf.Module):
    """What is saved: the transform, the model and the functions that the signatures share."""

    def __init__(self, model: keras.Model, transform_graph_path: str, features: RawFeatures) -> None:
        super().__init__()
        self._model = model
        self._transform = tf.saved_model.load(f"{transform_graph_path}/transform_fn")
        self._spec = features.spec()
        self._squeeze = model.output_shape[-1] == 1
        types = {name: _type_spec(spec) for name, spec in self._spec.items()}
        self._transformed = tf.function(lambda inputs: self._transform.transform_fn(inputs), input_signature=[types])
        self._predicted = tf.function(self._predict, input_signature=[types])

    def parse(self, examples: tf.Tensor) -> Tensors:
        """Features of serialized tf.Examples; a marker in them is a missing value, as it is in training."""
        parsed = tf.io.parse_example(examples, self._spec)
        return {name: _without_markers(value) for name, value in parsed.items()}

    def transform_features(self, inputs: Tensors) -> Tensors:
        """What the model sees."""
        return dict(self._transformed(inputs))

    def predictions(self, inputs: Tensors) -> tf.Tensor:
        """float32 `[batch]` or `[batch, classes]`."""
        return self._predicted(inputs)

    def _predict(self, inputs: Tensors) -> tf.Tensor:
        answer = tf.cast(self._model(self._transformed(inputs), training=False), tf.float32)
        return tf.squeeze(answer, 1) if self._squeeze else answer


def export(
    model: keras.Model,
    transform_graph_path: str,
    features: Sequence[schema_pb2.Feature],
    task: Task,
    class_names: Sequence[str],
    path: Path,
) -> None:
    """Writes the SavedModel to a directory that must not exist."""
    served = ServedModel(model, transform_graph_path, RawFeatures(tuple(features)))
    examples = tf.TensorSpec([None], tf.string, name="examples")
    inputs = tf.TensorSpec([None], tf.string, name="inputs")
    signatures = {
        "serving_default": tf.function(
            lambda examples: {"predictions": served.predictions(served.parse(examples))}
        ).get_concrete_function(examples=examples),
        "transform_features": tf.function(
            lambda examples: served.transform_features(served.parse(examples))
        ).get_concrete_function(examples=examples),
        "raw": tf.function(
            lambda **tensors: {"predictions": served.predictions(_from_markers(tensors, features))}
        ).get_concrete_function(**{feature.name: _raw_spec(feature) for feature in features}),
    }
    if task != "regression":
        signatures["classify"] = tf.function(
            lambda inputs: _classify(served.predictions(served.parse(inputs)), class_names)
        ).get_concrete_function(inputs=inputs)
    shutil.rmtree(path, ignore_errors=True)
    tf.saved_model.save(served, str(path), signatures=signatures)
    _complete_signatures(path, features)


def _complete_signatures(path: Path, features: Sequence[schema_pb2.Feature]) -> None:
    """Sets what `tf.saved_model.save` cannot: the method of `classify`, and the defaults of `raw`.

    With a default in the SignatureDef, TensorFlow Serving lets a request leave the input out. It has one row, and the
    graph repeats it for the batch.
    """
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    if "classify" in signatures:
        signatures["classify"].method_name = CLASSIFY_METHOD
    for feature in features:
        missing = tf.fill([1, *fixed_shape(feature)] + [1] * is_list(feature), _marker(feature))
        signatures["raw"].defaults[feature.name].CopyFrom(tf.make_tensor_proto(missing.numpy()))
    file.write_bytes(saved.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(path))


def _classify(predictions: tf.Tensor, class_names: Sequence[str]) -> Tensors:
    scores = tf.stack([1 - predictions, predictions], axis=1) if predictions.shape.rank == 1 else predictions
    return {"classes": tf.tile([list(class_names)], [tf.shape(scores)[0], 1]), "scores": scores}


def _marker(feature: schema_pb2.Feature) -> tf.Tensor:
    return tf.constant(marker_of(feature), tf.as_dtype(dtype_of(feature)))


def _raw_spec(feature: schema_pb2.Feature) -> tf.TensorSpec:
    shape = [None, *fixed_shape(feature)] + [None] * is_list(feature)
    return tf.TensorSpec(shape, tf.as_dtype(dtype_of(feature)), name=feature.name)


def _type_spec(spec: Any) -> tf.TypeSpec:
    if isinstance(spec, tf.io.VarLenFeature):
        return tf.SparseTensorSpec([None, None], spec.dtype)
    if isinstance(spec, tf.io.RaggedFeature):
        return tf.RaggedTensorSpec([None, None], spec.dtype, row_splits_dtype=tf.int64)
    return tf.TensorSpec([None, *spec.shape], spec.dtype)


def _from_markers(tensors: Tensors, features: Sequence[schema_pb2.Feature]) -> Tensors:
    """Inputs of `raw` as the transform takes them."""
    rows = tf.reduce_max([tf.shape(tensor, tf.int64)[0] for tensor in tensors.values()])
    return {feature.name: _from_marker(tensors[feature.name], feature, rows) for feature in features}


def _from_marker(tensor: tf.Tensor, feature: schema_pb2.Feature, rows: tf.Tensor) -> Any:
    shape = tf.concat([[rows], tf.shape(tensor, tf.int64)[1:]], axis=0)
    tensor = tf.broadcast_to(tensor, shape)
    if feature.HasField("shape"):
        return tensor
    if is_list(feature):
        return tf.ragged.boolean_mask(tensor, _is_present(tensor))
    present = tf.where(_is_present(tensor))
    indices = tf.concat([present, tf.zeros_like(present)], axis=1)
    return tf.SparseTensor(indices, tf.gather(tensor, present[:, 0]), tf.stack([rows, 1]))


def _without_markers(value: Any) -> Any:
    if isinstance(value, tf.SparseTensor):
        return tf.sparse.retain(value, _is_present(value.values))
    if isinstance(value, tf.RaggedTensor):
        return tf.ragged.boolean_mask(value, value.with_flat_values(_is_present(value.flat_values)))
    return value


def _is_present(values: tf.Tensor) -> tf.Tensor:
    if values.dtype == tf.float32:
        return tf.logical_not(tf.math.is_nan(values))
    return tf.not_equal(values, tf.int64.min if values.dtype == tf.int64 else "")
