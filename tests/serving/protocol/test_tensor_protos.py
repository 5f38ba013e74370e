from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.protocol.protos import tensor_pb2
from serving.protocol.tensor_protos import array_of, tensor_proto

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


def _shaped(dtype: int, *sizes: int, content: bytes = b"") -> Any:
    proto = tensor_pb2.TensorProto(dtype=dtype, tensor_content=content)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensor_protos_round_trip_keeps_values_and_type(array: Any) -> None:
    back = array_of(tensor_proto(array))

    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensor_protos_agree_with_tensorflow(array: Any) -> None:
    import tensorflow as tf

    np.testing.assert_array_equal(tf.make_ndarray(tensor_proto(array)), array)
    np.testing.assert_array_equal(array_of(tf.make_tensor_proto(array)), array)


def test_array_of_fewer_values_than_the_shape_repeats_the_last() -> None:
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[1.0, 2.0])
    proto.tensor_shape.dim.add(size=4)

    assert array_of(proto).tolist() == [1.0, 2.0, 2.0, 2.0]


def test_array_of_no_values_is_filled_with_zeros_and_more_are_left_out() -> None:
    proto = tensor_pb2.TensorProto(dtype=9)
    proto.tensor_shape.dim.add(size=2)

    assert array_of(proto).tolist() == [0, 0]
    proto.int64_val.extend([1, 2, 3])
    assert array_of(proto).tolist() == [1, 2]


def test_array_of_strings_in_tensor_content_is_read() -> None:
    proto = tensor_pb2.TensorProto(dtype=7, tensor_content=bytes([3, 0, 0x81, 1]) + b"abc" + b"x" * 129)
    proto.tensor_shape.dim.add(size=3)

    assert array_of(proto).tolist() == [b"abc", b"", b"x" * 129]


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (tensor_pb2.TensorProto(dtype=14, half_val=[1]), "type 14"),
        (tensor_pb2.TensorProto(dtype=1, tensor_content=b"123"), "3 bytes"),
        (_shaped(1, 2**40), "cannot fill"),
        (_shaped(1, 2**62, 2**62), "cannot fill"),
        (_shaped(1, -1), "not known"),
        (_shaped(1, *[2**62] * 200_000), "200000 dimensions"),
        (_shaped(7, 2, content=b"\x01"), "cannot hold"),
        (_shaped(7, 1, content=b"\x05ab"), "need 5 bytes"),
        (_shaped(7, 2, content=b"\xff\xff"), "cannot hold"),
    ],
)
def test_array_of_a_message_that_fits_no_tensor_is_refused(proto: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        array_of(proto)


@given(
    dtype=st.integers(0, 30),
    sizes=st.lists(st.integers(-2, 4) | st.integers(0, 2**63 - 1), max_size=4),
    content=st.binary(max_size=40),
    floats=st.lists(st.floats(width=32), max_size=5),
    integers=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5),
    strings=st.lists(st.binary(max_size=5), max_size=5),
)
def test_array_of_any_message_is_an_array_of_its_shape_or_a_value_error(
    dtype: int, sizes: list[int], content: bytes, floats: list[float], integers: list[int], strings: list[bytes]
) -> None:
    proto = _shaped(dtype, *sizes, content=content)
    proto.float_val.extend(floats)
    proto.int_val.extend(integers)
    proto.half_val.extend(integers)
    proto.string_val.extend(strings)
    try:
        array = array_of(proto)
    except ValueError:
        return
    assert array.shape == tuple(sizes)
    assert array.nbytes <= 1 << 27
