"""numpy arrays to `TF_Tensor`s and back.

Strings follow `tensorflow/core/platform/ctstring_internal.h`: 24 bytes each, the kind in the two low bits of the first.
Inputs are *views*, which point into the caller's bytes; outputs come as *small* (22 bytes in place), *large* or *view*.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtime.library import tensorflow

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRING = 7  # types.proto: DT_STRING
# types.proto numbers of the types that numpy has too.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    STRING: np.dtype(object),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    17: np.dtype(np.uint16),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_STRING_BYTES = 24
# ctypes.memmove, without giving the interpreter's lock away for a few bytes.
_memmove = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
    ("memmove", ctypes.PyDLL(None))
)
_SMALL, _LARGE, _OFFSET, _VIEW = range(4)


def dtype_number(array: NDArray[Any]) -> int:
    """TensorFlow's number of an array's type; bytes and objects are strings.

    Raises:
        TypeError: TensorFlow has no such type.
    """
    if array.dtype.kind in "SO":
        return STRING
    try:
        return _NUMBERS[array.dtype]
    except KeyError:
        raise TypeError(f"TensorFlow has no tensors of numpy's type {array.dtype}") from None


def new_tensor(array: NDArray[Any]) -> tuple[int, Any]:
    """A `TF_Tensor` with an array's values, and what has to live as long as the tensor does."""
    number = dtype_number(array)
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
        strings = np.empty(math.prod(shape), dtype=object)
        strings[:] = [_read_string(content, at) for at in range(0, size, _STRING_BYTES)]
        return strings.reshape(shape)
    if number not in DTYPES:
        raise TypeError(f"an output has TensorFlow's type {number}, which numpy does not have")
    return np.frombuffer(content, DTYPES[number]).reshape(shape)


def _views(array: NDArray[Any]) -> tuple[NDArray[np.uint64], Any]:
    """Views of an array's strings, [..., 3] words of 8 bytes, and the strings that they point into."""
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
