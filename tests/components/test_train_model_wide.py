"""The export of a module with very many inputs."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from components.train_model.export import _count_rows


def test_rows_are_those_of_the_longest_input() -> None:
    inputs = [np.zeros(1), np.zeros(1, np.int64), np.array(["a"] * 7), np.zeros((1, 4)), np.zeros((7, 2, 2))]
    assert int(_count_rows([tf.constant(each) for each in inputs])) == 7


def test_rows_are_counted_by_few_operations_however_many_inputs_there_are() -> None:
    """TensorFlow looks at all of them again for each input that is given their count."""
    shapes = ([None], [None, None], [None, 4])
    types = (tf.float32, tf.int64, tf.string)
    specs = [tf.TensorSpec(shape, dtype) for dtype in types for shape in shapes for _ in range(50)]
    counted = tf.function(lambda *inputs: _count_rows(list(inputs))).get_concrete_function(*specs)
    operations = [each for each in counted.graph.get_operations() if each.type not in ("Placeholder", "Const")]
    assert len(operations) < 40
