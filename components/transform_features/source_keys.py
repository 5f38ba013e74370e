"""TensorFlow Transform's search for the inputs of an analyzer, without the square of their number.

`_retrieve_source_keys` of TensorFlow Transform 1.21 (`tensorflow_transform/graph_tools.py`) looks up each source of an
analyzer in a list of each input's tensors. An analyzer of all columns has as many sources as there are columns, so
1,500 columns took minutes, several times. A set gives the same answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import tensorflow as tf


def retrieve_source_keys(sourced_tensors: Iterable[tf.Tensor], structured_inputs: Mapping[str, Any]) -> set[str]:
    """The names of the inputs that tensors depend on."""
    from tensorflow_transform import graph_tools, tf_utils

    found = graph_tools.retrieve_sources([tensor.op for tensor in sourced_tensors], ignore_control_dependencies=True)
    sources = {tf_utils.hashable_tensor_or_op(source) for source in found}
    return {
        name
        for name, value in structured_inputs.items()
        if any(tf_utils.hashable_tensor_or_op(part) in sources for part in graph_tools._decompose_tensor_or_op(value))
    }


def find_sources_by_set() -> None:
    """Makes TensorFlow Transform find sources so in this process, which may be a worker of Beam."""
    from tensorflow_transform import graph_tools

    graph_tools._retrieve_source_keys = retrieve_source_keys
