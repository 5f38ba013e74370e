"""TensorFlow's tensors: their types (`types.proto`), and `TensorProto` to numpy and back (`framework/tensor.cc`)."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.protocol.limits import MAX_FILLED, MAX_RANK
from serving.protocol.protos import tensor_pb2, types_pb2

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
    """A vector of strings: one object each, whatever their lengths."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def array_of(proto: Any) -> NDArray[Any]:
    """A tensor's values; strings as an object array of bytes. If there are too few values, the last one repeats.

    Raises:
        ValueError: type, shape and content do not make a tensor.
    """
    kind = TENSOR_TYPES.get(proto.dtype)
    if kind is None:
        raise ValueError(f"tensors of type {proto.dtype} are not supported")
    rank = len(proto.tensor_shape.dim)
    if rank > MAX_RANK:
        # The product of a million sizes takes minutes.
        raise ValueError(f"the shape has {rank} dimensions: at most {MAX_RANK} are supported")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"the shape {shape} is not known in full")
    count = math.prod(shape)
    if proto.tensor_content:
        return _from_content(proto.tensor_content, kind.numpy, count).reshape(shape)
    values = _from_field(proto, kind)
    if len(values) != count:
        values = _filled(values, kind.numpy, count)
    return values.reshape(shape)


def tensor_proto(array: NDArray[Any]) -> Any:
    """A `TensorProto` with the values in its `*_val` field, where TensorFlow Serving writes them."""
    number = type_number(array)
    proto = tensor_pb2.TensorProto(dtype=number)
    add = proto.tensor_shape.dim.add
    for size in array.shape:
        add().size = size
    flat = array.ravel()
    if number == HALF:
        flat = flat.view(np.uint16)
    getattr(proto, TENSOR_TYPES[number].field).extend(flat.tolist())
    return proto


def _from_content(content: bytes, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if dtype.kind == "O":
        return string_array(_length_prefixed(content, count))
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"the content has {len(content)} bytes, its shape needs {count * dtype.itemsize}")
    return np.frombuffer(content, dtype)


def _from_field(proto: Any, kind: TensorType) -> NDArray[Any]:
    values = getattr(proto, kind.field)
    if proto.dtype == STRING:
        return string_array(list(values))
    if proto.dtype == HALF:
        return np.array(values, np.int32).astype(np.uint16).view(np.float16)
    # Small integers are kept in wider ones; TensorFlow casts without a check, too.
    return np.array(values, np.int32).astype(kind.numpy) if kind.field == "int_val" else np.array(values, kind.numpy)


def _filled(values: NDArray[Any], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if count < len(values):
        return values[:count]
    if count > MAX_FILLED:
        raise ValueError(f"{len(values)} values cannot fill {count} elements: at most {MAX_FILLED} may be filled")
    last = values[-1] if len(values) else b"" if dtype.kind == "O" else dtype.type(0)
    whole = np.full(count, last, dtype)
    whole[: len(values)] = values
    return whole


def _length_prefixed(content: bytes, count: int) -> list[bytes]:
    """Strings as `port::EncodeStringList` writes them: all lengths as varints, then all bytes."""
    # A varint has 10 bytes at most; the rest of a large content need not be looked at.
    ends = np.flatnonzero(np.frombuffer(content[: 10 * count], np.uint8) < 0x80)[:count].tolist()
    if len(ends) < count:
        raise ValueError(f"{len(content)} bytes cannot hold {count} strings")
    lengths, at = [], 0
    for end in ends:
        varint = content[at : end + 1][:10]
        lengths.append(sum((byte & 0x7F) << 7 * place for place, byte in enumerate(varint)))
        at = end + 1
    if at + sum(lengths) != len(content):
        raise ValueError(f"the strings need {sum(lengths)} bytes, {len(content) - at} are there")
    starts = accumulate(lengths, initial=at)
    return [content[start : start + size] for start, size in zip(starts, lengths, strict=False)]
