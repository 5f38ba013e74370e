"""`TensorProto` to numpy and back, as TensorFlow's `core/framework/tensor.cc` reads and writes it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocol.limits import MAX_FILLED, MAX_RANK
from serving.protocol.protos import tensor_pb2
from serving.protocol.tensor_types import HALF, STRING, TENSOR_TYPES, TensorType, string_array, type_number


def array_of(proto: Any) -> NDArray[Any]:
    """A tensor's values; strings as an object array of bytes. If there are too few values, the last one repeats.

    Raises:
        ValueError: type, shape and content do not make a tensor.
    """
    number = proto.dtype
    kind = TENSOR_TYPES.get(number)
    if kind is None:
        raise ValueError(f"tensors of type {number} are not supported")
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
    values = _from_field(proto, number, kind)
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


def _from_field(proto: Any, number: int, kind: TensorType) -> NDArray[Any]:
    values = getattr(proto, kind.field)
    if number == STRING:
        return string_array(list(values))
    if number == HALF:
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
    if count > len(content):
        raise ValueError(f"{len(content)} bytes cannot hold {count} strings")
    lengths, at = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if at >= len(content) or shift > 63:
                raise ValueError("the content ends within the strings' lengths")
            byte = content[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if at + sum(lengths) != len(content):
        raise ValueError(f"the strings need {sum(lengths)} bytes, {len(content) - at} are there")
    strings = []
    for length in lengths:
        strings.append(content[at : at + length])
        at += length
    return strings
