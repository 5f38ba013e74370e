"""TensorFlow's tensor types (`types.proto`): for each its numpy type, its field in a `TensorProto`, and its JSON."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.protocol.protos import types_pb2

FLOAT: int = types_pb2.DT_FLOAT
INT64: int = types_pb2.DT_INT64
STRING: int = types_pb2.DT_STRING
HALF: int = types_pb2.DT_HALF


class TensorType(NamedTuple):
    """One tensor type.

    Attributes:
        numpy: The type of its values in numpy; strings are objects.
        field: The field of a `TensorProto` that holds the values.
        json: The Python types that a JSON value may have; none where TensorFlow Serving reads no JSON.
        json_range: The type whose range a JSON number must be in. TensorFlow Serving reads small integers as int32, and
            cuts them without a check.
    """

    numpy: np.dtype[Any]
    field: str
    json: frozenset[type] = frozenset()
    json_range: Any = None


_NUMBER, _INTEGER = frozenset({int, float}), frozenset({int})
TENSOR_TYPES: dict[int, TensorType] = {
    FLOAT: TensorType(np.dtype(np.float32), "float_val", _NUMBER, np.float32),
    types_pb2.DT_DOUBLE: TensorType(np.dtype(np.float64), "double_val", _NUMBER, np.float64),
    types_pb2.DT_INT32: TensorType(np.dtype(np.int32), "int_val", _INTEGER, np.int32),
    types_pb2.DT_UINT8: TensorType(np.dtype(np.uint8), "int_val", _INTEGER, np.int32),
    types_pb2.DT_INT16: TensorType(np.dtype(np.int16), "int_val", _INTEGER, np.int32),
    types_pb2.DT_INT8: TensorType(np.dtype(np.int8), "int_val", _INTEGER, np.int32),
    STRING: TensorType(np.dtype(object), "string_val", frozenset({str})),
    INT64: TensorType(np.dtype(np.int64), "int64_val", _INTEGER, np.int64),
    types_pb2.DT_BOOL: TensorType(np.dtype(np.bool_), "bool_val", frozenset({bool}), np.bool_),
    types_pb2.DT_UINT16: TensorType(np.dtype(np.uint16), "int_val"),
    HALF: TensorType(np.dtype(np.float16), "half_val"),
    types_pb2.DT_UINT32: TensorType(np.dtype(np.uint32), "uint32_val", _INTEGER, np.uint32),
    types_pb2.DT_UINT64: TensorType(np.dtype(np.uint64), "uint64_val", _INTEGER, np.uint64),
}
_NUMBERS = {kind.numpy: number for number, kind in TENSOR_TYPES.items()}


def type_number(array: NDArray[Any]) -> int:
    """The number of an array's type in types.proto; bytes and objects are strings.

    Raises:
        TypeError: TensorFlow has no such type.
    """
    if array.dtype.kind in "SO":
        return STRING
    try:
        return _NUMBERS[array.dtype]
    except KeyError:
        raise TypeError(f"TensorFlow has no tensors of numpy's type {array.dtype}") from None


def type_name(number: int) -> str:
    """A type's name in TensorFlow's error texts."""
    known = types_pb2.DataType.DESCRIPTOR.values_by_number.get(number)
    return known.name.removeprefix("DT_").lower() if known else str(number)


def string_array(values: list[bytes]) -> NDArray[Any]:
    """Strings as numpy holds those of a tensor: one object each, whatever their lengths."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
