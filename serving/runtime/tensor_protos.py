"""`TensorProto` to numpy and back, as TensorFlow's `core/framework/tensor.cc` reads and writes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtime.protos import tensor_pb2
from serving.runtime.tensors import DTYPES, STRING, dtype_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    19: "half_val",
    22: "uint32_val",
    23: "uint64_val",
}
_HALF = 19
MAX_RANK = 64  # numpy's; TensorFlow's is 254
# A few bytes may ask for a shape of any size, filled with one value; a model has no use for more than this.
_MAX_FILLED = 1 << 24


def array_of(proto: Any) -> NDArray[Any]:
    """A tensor's values; strings as an object array of bytes. Fewer values than the shape has: the last one repeats.

    Raises:
        ValueError: type, shape and content do not make a tensor.
    """
    number = proto.dtype
    dtype = DTYPES.get(number)
    if dtype is None:
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
        return _from_content(proto.tensor_content, number, dtype, count).reshape(shape)
    values = _from_field(getattr(proto, _FIELDS[number]), number, dtype)
    if len(values) != count:
        values = _filled(values, dtype, count)
    return values.reshape(shape)


def tensor_proto(array: NDArray[Any]) -> Any:
    """A `TensorProto` with the values in its `*_val` field, where TensorFlow Serving writes them.

    Raises:
        TypeError: TensorFlow has no such type.
    """
    number = dtype_number(array)
    proto = tensor_pb2.TensorProto(dtype=number)
    add = proto.tensor_shape.dim.add
    for size in array.shape:
        add().size = size
    flat = array.ravel()
    if number == _HALF:
        flat = flat.view(np.uint16)
    getattr(proto, _FIELDS[number]).extend(flat.tolist())
    return proto


def _from_content(content: bytes, number: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if number == STRING:
        return _strings(_length_prefixed(content, count))
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"the content has {len(content)} bytes, its shape needs {count * dtype.itemsize}")
    return np.frombuffer(content, dtype)


def _from_field(field: Any, number: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    if number == STRING:
        return _strings(list(field))
    if number == _HALF:
        return np.array(field, np.int32).astype(np.uint16).view(np.float16)
    # Small integers are kept in wider ones; TensorFlow casts without a check, too.
    return np.array(field, np.int32).astype(dtype) if _FIELDS[number] == "int_val" else np.array(field, dtype)


def _strings(values: list[bytes]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _filled(values: NDArray[Any], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if count < len(values):
        return values[:count]
    if count > _MAX_FILLED:
        raise ValueError(f"{len(values)} values cannot fill {count} elements: at most {_MAX_FILLED} may be filled")
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
