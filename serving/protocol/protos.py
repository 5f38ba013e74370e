"""TensorFlow's and TensorFlow Serving's messages and stubs, without importing TensorFlow.

The generated modules are plain protobuf, but belong to the package `tensorflow`, whose import takes seconds. They are
imported here from an empty stand-in for it, which is removed again: a later `import tensorflow` is the real one and
finds the same messages.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def tensorflow_folder() -> str:
    """The folder of the installed TensorFlow."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("TensorFlow is not installed: install the versions of requirements.lock")
    return spec.submodule_search_locations[0]


@contextmanager
def _stand_in_for_tensorflow() -> Iterator[None]:
    if "tensorflow" in sys.modules:
        yield
        return
    stand_in = ModuleType("tensorflow")
    stand_in.__path__ = [tensorflow_folder()]
    sys.modules["tensorflow"] = stand_in
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


with _stand_in_for_tensorflow():
    from tensorflow.core.example import example_pb2, feature_pb2
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
    from tensorflow.core.protobuf import config_pb2, error_codes_pb2, meta_graph_pb2, saved_model_pb2
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        input_pb2,
        model_management_pb2,
        model_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_log_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
        status_pb2,
    )
    from tensorflow_serving.config import model_server_config_pb2
