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

import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from serving.protocol.signatures import CLASSIFY, CLASSIFY_METHOD
from slipway.data.tensors import RawFeatures, dtype_of, fixed_shape, is_list, marker_of
from slipway.errors import ModuleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorflow_metadata.proto.v0 import schema_pb2

    from slipway.module_api import Task

_ARGUMENT = re.compile("[A-Za-z][A-Za-z0-9_]*")
Tensors = dict[str, Any]


def export(
    model: keras.Model,
    transform_graph_path: str,
    features: Sequence[schema_pb2.Feature],
    task: Task,
    class_names: Sequence[str],
    path: Path,
) -> None:
    """Writes the SavedModel into an empty folder of this machine.

    Raises:
        ModuleError: the model holds what a SavedModel cannot.
    """
    served = tf.Module()
    # Not the model itself: a Keras variable is saved as a copy of the tf.Variable in it, TensorFlow's C++ loader
    # restores the copy, and the signatures then read variables that nobody initialised. Python hides that.
    served.variables_of_model = [variable.value for variable in model.variables]
    served.transform = tf.saved_model.load(f"{transform_graph_path}/transform_fn")
    signatures = _signatures(model, served.transform.transform_fn, features, task, class_names)
    try:
        tf.saved_model.save(served, str(path), signatures=signatures)
    except (AssertionError, ValueError, TypeError) as error:
        raise ModuleError(
            f"model.py: the model cannot be exported: {error}. Look-up tables and files (StringLookup and the like) "
            "belong into preprocessing_fn, as tft.compute_and_apply_vocabulary"
        ) from error
    _complete_signatures(path, features)


def _signatures(
    model: keras.Model,
    transform_fn: Any,
    features: Sequence[schema_pb2.Feature],
    task: Task,
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Concrete functions; what they share is traced once."""
    spec = RawFeatures(tuple(features)).serving_spec()
    inputs = {name: _type_spec(feature) for name, feature in spec.items()}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)  # type: ignore[untyped-decorator]
    def parse(examples: tf.Tensor) -> Tensors:
        parsed = tf.io.parse_example(examples, spec)
        return {name: _without_markers(value) for name, value in parsed.items()}

    @tf.function(input_signature=[inputs], autograph=False)  # type: ignore[untyped-decorator]
    def predict(inputs: Tensors) -> tf.Tensor:
        answer = tf.cast(model(transform_fn(inputs), training=False), tf.float32)
        return answer if task == "multiclass" else tf.squeeze(answer, 1)

    arguments = _arguments(features)

    def raw(**tensors: tf.Tensor) -> Tensors:
        named = {feature.name: tensors[argument] for argument, feature in arguments.items()}
        return {"predictions": predict(_from_markers(named, features))}

    def concrete(function: Any, **specs: tf.TensorSpec) -> Any:
        return tf.function(function, autograph=False).get_concrete_function(**specs)

    strings = tf.TensorSpec([None], tf.string)
    signatures = {
        "serving_default": concrete(lambda examples: {"predictions": predict(parse(examples))}, examples=strings),
        "transform_features": concrete(lambda examples: transform_fn(parse(examples)), examples=strings),
        "raw": concrete(raw, **{name: _raw_spec(feature, name) for name, feature in arguments.items()}),
    }
    if task != "regression":
        signatures[CLASSIFY] = concrete(lambda inputs: _classify(predict(parse(inputs)), class_names), inputs=strings)
    return signatures


def _complete_signatures(path: Path, features: Sequence[schema_pb2.Feature]) -> None:
    """Sets what `tf.saved_model.save` cannot: the method of `classify`, the names and the defaults of `raw`.

    With a default in the SignatureDef, TensorFlow Serving lets a request leave the input out. It has one row, and the
    graph repeats it for the batch.
    """
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    if CLASSIFY in signatures:
        signatures[CLASSIFY].method_name = CLASSIFY_METHOD
    for argument, feature in _arguments(features).items():
        if argument != feature.name:
            inputs = signatures["raw"].inputs
            inputs[feature.name].CopyFrom(inputs[argument])
            del inputs[argument]
        missing = tf.fill([1, *fixed_shape(feature)] + [1] * is_list(feature), _marker(feature))
        signatures["raw"].defaults[feature.name].CopyFrom(tf.make_tensor_proto(missing.numpy()))
    file.write_bytes(saved.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(path))


def _classify(predictions: tf.Tensor, class_names: Sequence[str]) -> Tensors:
    scores = tf.stack([1 - predictions, predictions], axis=1) if predictions.shape.rank == 1 else predictions
    return {"classes": tf.tile([list(class_names)], [tf.shape(scores)[0], 1]), "scores": scores}


def _marker(feature: schema_pb2.Feature) -> tf.Tensor:
    return tf.constant(marker_of(feature), tf.as_dtype(dtype_of(feature)))


def _arguments(features: Sequence[schema_pb2.Feature]) -> dict[str, schema_pb2.Feature]:
    """Features by the names of `raw`'s Python arguments: not every column's name (`trip miles`, `class`) can be one."""
    return {
        feature.name if _is_argument(feature.name) else f"slipway_input_{index}": feature
        for index, feature in enumerate(features)
    }


def _is_argument(name: str) -> bool:
    return _ARGUMENT.fullmatch(name) is not None and not keyword.iskeyword(name)


def _raw_spec(feature: schema_pb2.Feature, name: str) -> tf.TensorSpec:
    shape = [None, *fixed_shape(feature)] + [None] * is_list(feature)
    return tf.TensorSpec(shape, tf.as_dtype(dtype_of(feature)), name=name)


def _type_spec(spec: Any) -> tf.TypeSpec:
    if isinstance(spec, tf.io.VarLenFeature):
        return tf.SparseTensorSpec([None, None], spec.dtype)
    if isinstance(spec, tf.io.RaggedFeature):
        return tf.RaggedTensorSpec([None, None], spec.dtype, row_splits_dtype=tf.int64)
    return tf.TensorSpec([None, *spec.shape], spec.dtype)


def _from_markers(tensors: Tensors, features: Sequence[schema_pb2.Feature]) -> Tensors:
    """Inputs of `raw` as the transform takes them; few operations, since a request waits for each."""
    rows = tf.reduce_max([tf.shape(tensor, tf.int64)[0] for tensor in tensors.values()])
    column = tf.stack([rows, 1])
    return {feature.name: _from_marker(tensors[feature.name], feature, rows, column) for feature in features}


def _from_marker(tensor: tf.Tensor, feature: schema_pb2.Feature, rows: tf.Tensor, column: tf.Tensor) -> Any:
    if tensor.shape.rank == 1 and not feature.HasField("shape"):
        tensor = tf.broadcast_to(tensor, column[:1])
        present = tf.where(_is_present(tensor))
        return tf.SparseTensor(tf.pad(present, [[0, 0], [0, 1]]), tf.gather_nd(tensor, present), column)
    tensor = tf.broadcast_to(tensor, tf.concat([[rows], tf.shape(tensor, tf.int64)[1:]], axis=0))
    return tf.ragged.boolean_mask(tensor, _is_present(tensor)) if is_list(feature) else tensor


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
