"""numpy arrays to `TensorProto`s and back, as `tensorflow/core/framework/tensor.proto` says, without TensorFlow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtime.protos import tensor_pb2
from serving.runtime.tensors import DTYPES, STRING, dtype_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The field that holds values of a type; small integers share one.
_FIELDS = {
    1: "float_val",
    2: "double_val",
    3: "int_val",
    4: "int_val",
    5: "int_val",
    6: "int_val",
    STRING: "string_val",
    9: "int64_val",
    10: "bool_val",
    17: "int_val",
    22: "uint32_val",
    23: "uint64_val",
}


def to_array(proto: tensor_pb2.TensorProto) -> NDArray[Any]:
    """The values of a message; strings as an object array of bytes.

    Raises:
        ValueError: the type is none that numpy has, or the values do not fit the shape.
    """
    dtype = DTYPES.get(proto.dtype)
    if dtype is None:
        raise ValueError(f"a tensor of TensorFlow's type {proto.dtype} cannot be read")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if min(shape, default=0) < 0:
        raise ValueError(f"a tensor has the shape {list(shape)}: sizes must be known")
    size = math.prod(shape)
    if proto.tensor_content:
        if proto.dtype == STRING or len(proto.tensor_content) != size * dtype.itemsize:
            raise ValueError(f"tensor_content holds {len(proto.tensor_content)} bytes, not a {dtype} of {list(shape)}")
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    if proto.dtype not in _FIELDS:
        raise ValueError(f"a tensor of type {dtype} must come as tensor_content")
    values = getattr(proto, _FIELDS[proto.dtype])
    if len(values) > size or (size and not values):
        raise ValueError(f"a tensor of shape {list(shape)} has {len(values)} values")
    array = np.empty(size, dtype)
    array[: len(values)] = values
    # The last value stands for all that are not there.
    array[len(values) :] = values[-1] if size else 0
    return array.reshape(shape)


def to_proto(array: NDArray[Any]) -> tensor_pb2.TensorProto:
    """A message with an array's values in the field of their type, as TensorFlow Serving answers.

    Raises:
        TypeError: TensorFlow has no such type.
    """
    number = dtype_number(array)
    proto = tensor_pb2.TensorProto(dtype=number)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if number in _FIELDS:
        getattr(proto, _FIELDS[number]).extend(array.ravel().tolist())
    else:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    return proto
