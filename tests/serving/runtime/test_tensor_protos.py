from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.runtime.protos import tensor_pb2
from serving.runtime.tensor_protos import to_array, to_proto

ARRAYS = [
    np.array([1.5, float("nan")], np.float32),
    np.array([[1], [-(2**63)]], np.int64),
    np.array([b"taxi", b"\xff\x00"], object),
    np.array(3.25),
    np.array([True, False]),
    np.array([2**64 - 1], np.uint64),
    np.array([1.5, -2], np.float16),
    np.zeros((0, 3), np.float32),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensor_protos_round_trip_keeps_values_and_type(array: Any) -> None:
    back = to_array(to_proto(array))

    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensor_protos_agree_with_tensorflow(array: Any) -> None:
    import tensorflow as tf

    np.testing.assert_array_equal(tf.make_ndarray(to_proto(array)), array)
    np.testing.assert_array_equal(to_array(tf.make_tensor_proto(array)), array)


def test_to_array_fewer_values_than_the_shape_repeats_the_last() -> None:
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[1.0, 2.0])
    proto.tensor_shape.dim.add(size=4)

    assert to_array(proto).tolist() == [1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (tensor_pb2.TensorProto(dtype=14, half_val=[1]), "type 14"),
        (tensor_pb2.TensorProto(dtype=1, float_val=[1.0, 2.0]), "has 2 values"),
        (tensor_pb2.TensorProto(dtype=1), "has 0 values"),
        (tensor_pb2.TensorProto(dtype=1, tensor_content=b"123"), "3 bytes"),
    ],
)
def test_to_array_of_a_message_that_fits_no_tensor_is_refused(proto: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_array(proto)
