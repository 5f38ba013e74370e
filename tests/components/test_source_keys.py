"""Our search for the inputs of an analyzer answers as that of TensorFlow Transform, which it stands in for."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import tensorflow as tf

from components.transform_features.source_keys import retrieve_source_keys
from components.transform_features.transform import preprocess
from tests.shapes import publish


def theirs() -> Any:
    """A copy of their module in which nothing was replaced."""
    spec = find_spec("tensorflow_transform.graph_tools")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module._retrieve_source_keys


def test_source_keys_are_those_of_tensorflow_transform() -> None:
    with tf.Graph().as_default():
        inputs = {
            "dense": tf.compat.v1.placeholder(tf.float32, (None,)),
            "sparse": tf.compat.v1.sparse_placeholder(tf.float32, (None, 5)),
            "ragged": tf.compat.v1.ragged.placeholder(tf.float32, 1),
            "unused": tf.compat.v1.placeholder(tf.float32, (None,)),
        }
        tensors = {
            "dense": inputs["dense"] * 2,
            "sparse": tf.sparse.reduce_sum(inputs["sparse"], 1),
            "ragged": tf.reduce_sum(inputs["ragged"].values),
            "constant": tf.constant(1.0),
        }
        asked: list[list[Any]] = [[one] for one in tensors.values()]
        asked += [[tensors["dense"] + tensors["sparse"]], list(tensors.values()), []]
        found = [retrieve_source_keys(each, inputs) for each in asked]
        assert found == [theirs()(each, inputs) for each in asked]
    assert found == [
        {"dense"},
        {"sparse"},
        {"ragged"},
        set(),
        {"dense", "sparse"},
        {"dense", "sparse", "ragged"},
        set(),
    ]


def test_tracing_of_a_module_uses_it(tmp_path: Path) -> None:
    from tensorflow_transform import graph_tools

    module = publish(tmp_path, preprocessing="def preprocessing_fn(inputs):\n    return {'x': inputs['x']}\n")
    preprocess(module.preprocessing_uri, {}, {"x": tf.constant([1.0])})
    assert graph_tools._retrieve_source_keys is retrieve_source_keys
