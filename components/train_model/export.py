"""The SavedModel that is served: the module's model with the transform inside, behind four signatures.

It holds requests, too: golden ones with the answers of training, and those that warm a server up.

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
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from components.train_model.features import Spec, StreamedFeatures
from serving.protocol.signatures import CLASSIFY, CLASSIFY_METHOD
from slipway.data.examples.dataset import files_of_split
from slipway.data.tensors import (
    RawFeatures,
    dtype_of,
    fixed_shape,
    is_list,
    is_only_image,
    marker_of,
    raw_inputs,
    serialize_examples,
)
from slipway.errors import ModuleError
from slipway.evaluation.golden import Golden, write_golden

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

    from components.train_model.config import TrainConfig

_ARGUMENT = re.compile("[A-Za-z][A-Za-z0-9_]*")
Tensors = dict[str, Any]

RECORDED_ROWS = 64
WARMUP = "assets.extra/tf_serving_warmup_requests"
WARMUP_BATCHES = (1, 64)


def export(
    model: keras.Model,
    transform_graph_path: str,
    features: Sequence[schema_pb2.Feature],
    config: TrainConfig,
    path: Path,
) -> None:
    """Writes the SavedModel into an empty folder of this machine.

    Raises:
        ModuleError: a part of the model cannot be saved.
    """
    served = tf.Module()
    # Not the model itself: a Keras variable is saved as a copy of the tf.Variable in it, TensorFlow's C++ loader
    # restores the copy, and the signatures then read variables that nobody initialised. Python hides that.
    served.variables_of_model = [variable.value for variable in model.variables]
    served.transform = tf.saved_model.load(f"{transform_graph_path}/transform_fn")
    signatures = _signatures(model, served.transform.transform_fn, features, config)
    try:
        tf.saved_model.save(served, str(path), signatures=signatures)
    except (AssertionError, ValueError, TypeError) as error:
        raise ModuleError(
            f"model.py: the model cannot be exported: {error}. Look-up tables and files (StringLookup and the like) "
            "belong into preprocessing_fn, as tft.compute_and_apply_vocabulary"
        ) from error
    _complete_signatures(path, features)


def _signatures(
    model: keras.Model, transform_fn: Any, features: Sequence[schema_pb2.Feature], config: TrainConfig
) -> dict[str, Any]:
    """Concrete functions; their common parts are traced once."""
    spec = RawFeatures(tuple(features)).serving_spec()
    inputs = {name: _type_spec(feature) for name, feature in spec.items()}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)  # type: ignore[untyped-decorator]
    def parse(examples: tf.Tensor) -> Tensors:
        if is_only_image(features):
            return {features[0].name: _parse_images(examples, features[0].name, spec)}
        parsed = tf.io.parse_example(examples, spec)
        return {name: _without_markers(value) for name, value in parsed.items()}

    @tf.function(input_signature=[inputs], autograph=False)  # type: ignore[untyped-decorator]
    def predict(inputs: Tensors) -> tf.Tensor:
        answer = tf.cast(model(transform_fn(inputs), training=False), tf.float32)
        return answer if config.task == "multiclass" else tf.squeeze(answer, 1)

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
    if config.task != "regression":
        names = list(config.class_names)
        signatures[CLASSIFY] = concrete(lambda inputs: _classify(predict(parse(inputs)), names), inputs=strings)
    return signatures


def _complete_signatures(path: Path, features: Sequence[schema_pb2.Feature]) -> None:
    """Sets the method of `classify`, the names and the defaults of `raw`: `tf.saved_model.save` cannot.

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
        marker = tf.constant(marker_of(feature), tf.as_dtype(dtype_of(feature)))
        missing = tf.fill([1, *fixed_shape(feature)] + [1] * is_list(feature), marker)
        signatures["raw"].defaults[feature.name].CopyFrom(tf.make_tensor_proto(missing.numpy()))
    file.write_bytes(saved.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(path))


def _parse_images(examples: tf.Tensor, name: str, spec: dict[str, Any]) -> tf.Tensor:
    """Images out of tf.Examples, which begin with a line feed or are empty, and of PNG and JPEG files."""
    shape = spec[name].shape
    start = tf.strings.substr(examples, 0, 1)
    is_file = tf.logical_and(tf.not_equal(start, ""), tf.not_equal(start, "\n"))
    images = tf.io.parse_example(tf.where(is_file, "", examples), spec)[name]

    def decode(content: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(content, shape[2], expand_animations=False)
        return tf.ensure_shape(tf.cast(image, tf.int64), shape)  # of another size, the message has both

    files = tf.where(is_file)
    contents = tf.gather_nd(examples, files)
    decoded = tf.map_fn(decode, contents, fn_output_signature=tf.TensorSpec(shape, tf.int64))
    return tf.tensor_scatter_nd_update(images, files, decoded)


def _classify(predictions: tf.Tensor, class_names: list[str]) -> Tensors:
    scores = tf.stack([1 - predictions, predictions], axis=1) if predictions.shape.rank == 1 else predictions
    return {"classes": tf.tile([class_names], [tf.shape(scores)[0], 1]), "scores": scores}


def _arguments(features: Sequence[schema_pb2.Feature]) -> dict[str, schema_pb2.Feature]:
    """Features by the names of `raw`'s Python arguments: not every column's name (`trip miles`, `class`) can be one."""

    def argument(index: int, name: str) -> str:
        usable = _ARGUMENT.fullmatch(name) and not keyword.iskeyword(name)
        return name if usable else f"slipway_input_{index}"

    return {argument(index, feature.name): feature for index, feature in enumerate(features)}


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
    rows = _count_rows(list(tensors.values()))
    column = tf.stack([rows, 1])
    return {feature.name: _from_marker(tensors[feature.name], feature, rows, column) for feature in features}


def _count_rows(tensors: list[tf.Tensor]) -> tf.Tensor:
    """The rows of the longest input.

    By few operations, not by some for each input: whatever is given this count, TensorFlow first searches all that it
    was made of for a constant, so that the time of an export would grow with the square of the inputs.
    """
    alike: dict[tuple[tf.DType, int], list[tf.Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.dtype, tensor.shape.rank), []).append(tensor)
    counts = [tf.stack(tf.raw_ops.ShapeN(input=same, out_type=tf.int64))[:, 0] for same in alike.values()]
    return tf.reduce_max(tf.concat(counts, axis=0))


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


def choose_rows(
    sample_path: str, transformed_path: str, spec: Spec, features: Sequence[schema_pb2.Feature]
) -> tuple[pa.Table, dict[str, NDArray[Any]]]:
    """Rows to record, as the data has them and transformed: half evenly spread, half with most missing.

    They are of the eval split. The transformed files mirror the examples, and the sample has the first rows of them, so
    the same index is the same row.
    """
    file = files_of_split(transformed_path, "eval")[0]
    rows = pq.read_table(Path(sample_path) / file.relative_to(transformed_path), partitioning=None)
    there = set(rows.column_names)
    columns = [rows[feature.name] for feature in features if feature.name in there]
    missing = np.sum([column.is_null().to_numpy() for column in columns], axis=0)
    spread = np.linspace(0, rows.num_rows - 1, RECORDED_ROWS // 2).astype(int)
    chosen = np.unique([*spread, *np.argsort(-missing, kind="stable")[: RECORDED_ROWS // 2]])
    return rows.take(chosen), StreamedFeatures([file], spec).take(chosen)


def write_recorded(
    rows: pa.Table,
    transformed: dict[str, NDArray[Any]],
    model: keras.Model,
    features: Sequence[schema_pb2.Feature],
    classifies: bool,
    path: Path,
) -> None:
    """Writes `assets.extra/` of a SavedModel; the golden answers come from the model that was trained, not from it.

    The warm-up requests are a TFRecord of PredictionLog, which TensorFlow Serving replays before a version counts as
    loaded.
    """
    answers = np.asarray(model(transformed, training=False), np.float32)
    answers = answers[:, 0] if answers.shape[1] == 1 else answers
    write_golden(Golden.of(serialize_examples(rows, features), answers.tolist(), transformed), path)
    with tf.io.TFRecordWriter(str(path / WARMUP)) as writer:
        for size in WARMUP_BATCHES:
            batch = rows.take(np.arange(size) % rows.num_rows)
            examples = serialize_examples(batch, features)
            for name, inputs in (("serving_default", {"examples": examples}), ("raw", raw_inputs(batch, features))):
                log = PredictionLog()
                log.predict_log.request.model_spec.signature_name = name
                for key, values in inputs.items():
                    log.predict_log.request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
                writer.write(log.SerializeToString())
            if classifies:
                log = PredictionLog()
                log.classify_log.request.model_spec.signature_name = "classify"
                parsed = [tf.train.Example.FromString(example) for example in examples]
                log.classify_log.request.input.example_list.examples.extend(parsed)
                writer.write(log.SerializeToString())
