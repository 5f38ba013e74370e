"""numpy arrays to `TF_Tensor`s and back.

Strings follow `tensorflow/core/platform/ctstring_internal.h`: 24 bytes each, the kind in the two low bits of the first.
Inputs are *views*, which point into the caller's bytes; outputs come as *small* (22 bytes in place), *large* or *view*.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocol.tensor_types import STRING, TENSOR_TYPES, string_array, type_number
from serving.runtime.c_api import tensorflow

_STRING_BYTES = 24
# ctypes.memmove, without giving the interpreter's lock away for a few bytes.
_memmove = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
    ("memmove", ctypes.PyDLL(None))
)
_SMALL, _LARGE, _OFFSET, _VIEW = range(4)


def new_tensor(array: NDArray[Any]) -> tuple[int, Any]:
    """A `TF_Tensor` with an array's values, and objects that must live as long as the tensor."""
    number = type_number(array)
    alive = None
    if number == STRING:
        array, alive = _views(array)
        shape: Sequence[int] = array.shape[:-1]
    else:
        shape = array.shape
    functions = tensorflow()
    tensor = functions.TF_AllocateTensor(number, (ctypes.c_int64 * len(shape))(*shape), len(shape), array.nbytes)
    # As bytes: `array.ctypes` costs more than it takes to copy the few values of a request.
    _memmove(functions.TF_TensorData(tensor), array.tobytes(), array.nbytes)
    return tensor, alive


def read_tensor(tensor: int) -> NDArray[Any]:
    """A copy of a tensor's values; strings as an object array of bytes."""
    functions = tensorflow()
    shape = tuple(functions.TF_Dim(tensor, axis) for axis in range(functions.TF_NumDims(tensor)))
    number = functions.TF_TensorType(tensor)
    size = functions.TF_TensorByteSize(tensor)
    content = ctypes.string_at(functions.TF_TensorData(tensor), size) if size else b""
    if number == STRING:
        return string_array([_read_string(content, at) for at in range(0, size, _STRING_BYTES)]).reshape(shape)
    if number not in TENSOR_TYPES:
        raise TypeError(f"an output has TensorFlow's type {number}, which numpy does not have")
    return np.frombuffer(content, TENSOR_TYPES[number].numpy).reshape(shape)


def _views(array: NDArray[Any]) -> tuple[NDArray[np.uint64], Any]:
    """Views of an array's strings, [..., 3] words of 8 bytes, and the strings that they point to."""
    strings = array.ravel().tolist()
    if set(map(type, strings)) != {bytes}:
        strings = [_as_bytes(value) for value in strings]
    pointers = (ctypes.c_char_p * len(strings))(*strings)
    views = np.zeros((*array.shape, 3), np.uint64)
    flat = views.reshape(-1, 3)
    flat[:, 0] = np.fromiter(map(len, strings), np.uint64, len(strings)) << 2 | _VIEW
    flat[:, 1] = np.frombuffer(memoryview(pointers), np.uint64)
    return views, (strings, pointers)


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TypeError(f"a string tensor cannot hold {value!r}, a {type(value).__name__}: give bytes")


def _read_string(content: bytes, at: int) -> bytes:
    kind = content[at] & 3
    if kind == _SMALL:
        return content[at + 1 : at + 1 + (content[at] >> 2)]
    if kind == _OFFSET:
        raise TypeError("TensorFlow answered a string that is kept by offset; only files hold such")
    pointer_at = at + (16 if kind == _LARGE else 8)
    size = int.from_bytes(content[at : at + 8], "little") >> 2
    return ctypes.string_at(int.from_bytes(content[pointer_at : pointer_at + 8], "little"), size)
