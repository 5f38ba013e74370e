"""Requests kept inside the model: golden ones with the answers of training, and those that warm a server up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.train_model.dataset import Spec, read_features, split_files
from slipway.data.tensors import raw_inputs, serialize_examples
from slipway.evaluation.golden import Golden, write_golden

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    import pyarrow as pa
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

ROWS = 64
CANDIDATES = 5000
WARMUP = "assets.extra/tf_serving_warmup_requests"
WARMUP_BATCHES = (1, 64)


@dataclass(frozen=True)
class RecordedRows:
    """A few rows as the data has them, and as training sees them."""

    raw: pa.Table
    transformed: dict[str, NDArray[Any]]


def choose_rows(
    examples_path: str, transformed_path: str, spec: Spec, features: Sequence[schema_pb2.Feature]
) -> RecordedRows:
    """Rows of the eval split (of the training split if that is empty): half evenly spread, half with most missing.

    The transformed files mirror the examples, so the same index is the same row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = (split_files(transformed_path, "eval") or split_files(transformed_path, "train"))[0]
    with pq.ParquetFile(Path(examples_path) / file.relative_to(transformed_path)) as parquet:
        rows = pa.Table.from_batches([next(parquet.iter_batches(CANDIDATES))])
    columns = [rows[feature.name] for feature in features if feature.name in rows.column_names]
    missing = np.sum([column.is_null().to_numpy() for column in columns], axis=0)
    spread = np.linspace(0, rows.num_rows - 1, ROWS // 2).astype(int)
    chosen = np.unique([*spread, *np.argsort(-missing, kind="stable")[: ROWS // 2]])
    transformed = read_features([file], spec, rows.num_rows)
    return RecordedRows(rows.take(chosen), {name: values[chosen] for name, values in transformed.items()})


def write_recorded(
    rows: RecordedRows, model: keras.Model, features: Sequence[schema_pb2.Feature], classifies: bool, path: Path
) -> None:
    """Writes `assets.extra/` of a SavedModel; the golden answers come from the model that was trained, not from it."""
    answers = np.asarray(model(rows.transformed, training=False), np.float32)
    answers = answers[:, 0] if answers.shape[1] == 1 else answers
    write_golden(Golden.of(serialize_examples(rows.raw, features), answers.tolist(), rows.transformed), path)
    _write_warmup(rows.raw, features, classifies, path / WARMUP)


def _write_warmup(rows: pa.Table, features: Sequence[schema_pb2.Feature], classifies: bool, path: Path) -> None:
    """A TFRecord of PredictionLog; TensorFlow Serving replays it before a version counts as loaded."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in WARMUP_BATCHES:
            batch = rows.take(np.arange(size) % rows.num_rows)
            examples = serialize_examples(batch, features)
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.model_spec.signature_name = "serving_default"
            log.predict_log.request.inputs["examples"].CopyFrom(tf.make_tensor_proto(examples))
            writer.write(log.SerializeToString())
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.model_spec.signature_name = "raw"
            for name, values in raw_inputs(batch, features).items():
                log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            writer.write(log.SerializeToString())
            if classifies:
                log = prediction_log_pb2.PredictionLog()
                log.classify_log.request.model_spec.signature_name = "classify"
                parsed = [tf.train.Example.FromString(example) for example in examples]
                log.classify_log.request.input.example_list.examples.extend(parsed)
                writer.write(log.SerializeToString())
