"""Models that take what a module's schema has, served on loopback: untrained, with the signatures of trained ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from serving.predict_page.asking import ServedModel
from serving.predict_page.describe import describe_field
from serving.predict_page.form import Form
from serving.predict_page.models import OneModel
from serving.server.config import ServerConfig
from serving.server.model_sources import OneVersion
from serving.server.server import ModelServer
from slipway.data.schema import model_inputs, parse_schema
from slipway.data.tensors import MISSING_INT, dtype_of, fixed_shape
from slipway.monitoring.counts import choose_cells, count
from tests.served_models import edit_signatures

MODULES = Path(__file__).parents[3] / "modules"


@contextmanager
def shown(name: str, classes: Sequence[str], rows: Sequence[dict[str, Any]], folder: Path) -> Iterator[OneModel]:
    """The page's model of a module, with rows to fill the form with, which training is said to have seen."""
    schema = parse_schema((MODULES / name / "schema.pbtxt").read_text(encoding="utf-8"))
    features = model_inputs(schema)
    _save(features, classes, folder / name)
    fields = []
    for feature in features:
        column = pa.array([None if fixed_shape(feature) else row.get(feature.name) for row in rows])
        fields.append(describe_field(feature, schema, count(column, choose_cells(column)), rows))
    texts = tuple({field.name: field.write(row.get(field.name)) for field in fields} for row in rows)
    form = Form(model=name, version=3, question=f"What of {name}?", label="label", fields=tuple(fields), rows=texts)
    with ModelServer(OneVersion(name, folder / name, 3), ServerConfig(grpc_port=0, rest_port=0)) as server:
        model = OneModel(ServedModel(f"127.0.0.1:{server.rest_port}", name, 30.0), form)
        try:
            yield model
        finally:
            model.close()


def _save(features: Sequence[Any], classes: Sequence[str], path: Path) -> None:
    width = sum(prod(fixed_shape(one)) for one in features)

    def number(tensor: Any) -> Any:
        if tensor.dtype == tf.string:
            return tf.cast(tf.strings.length(tensor), tf.float32)
        is_missing = tf.math.is_nan(tensor) if tensor.dtype == tf.float32 else tf.equal(tensor, MISSING_INT)
        return tf.where(is_missing, 0.0, tf.cast(tensor, tf.float32))

    def raw(**tensors: Any) -> dict[str, Any]:
        parts = [tf.reshape(tf.math.tanh(number(one) / 50), [tf.shape(one)[0], -1]) for one in tensors.values()]
        flat = tf.concat(parts, axis=1)
        weights = np.random.default_rng(1).normal(size=(width, len(classes))).astype(np.float32)
        scores = tf.nn.softmax(flat @ weights / 3)
        return {"predictions": scores if len(classes) > 2 else scores[:, 1]}

    def classify(inputs: Any) -> dict[str, Any]:
        rows = tf.shape(inputs)[0]
        return {"classes": tf.tile([list(classes)], [rows, 1]), "scores": tf.zeros([rows, len(classes)])}

    specs = {
        one.name: tf.TensorSpec([None, *fixed_shape(one)], tf.as_dtype(dtype_of(one)), name=one.name)
        for one in features
    }
    strings = tf.TensorSpec([None], tf.string, name="inputs")
    signatures = {
        "raw": tf.function(raw, autograph=False).get_concrete_function(**specs),
        "classify": tf.function(classify, autograph=False).get_concrete_function(strings),
    }
    tf.saved_model.save(tf.Module(), str(path), signatures=signatures)

    def as_exported(found: Any) -> None:
        found["classify"].method_name = "tensorflow/serving/classify"

    edit_signatures(path, as_exported)
