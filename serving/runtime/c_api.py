"""TensorFlow's C API, as far as serving needs it, from the wheel's shared libraries; numpy arrays to tensors and back.

The declarations are those of `tensorflow/c/c_api.h`, `tf_tensor.h` and `tf_status.h`. Slow functions release the
interpreter's lock, so that other requests go on. The hundred fast calls of a request keep it: taking it back is slow.

Strings follow `tensorflow/core/platform/ctstring_internal.h`: 24 bytes each, the kind in the two low bits of the first.
Inputs are *views*, which point into the caller's bytes; outputs come as *small* (22 bytes in place), *large* or *view*.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocol.tensor_protos import STRING, TENSOR_TYPES, string_array, type_number
from slipway.stand_in import package_folder


class Output(Structure):
    """`TF_Output`: one output of an operation of a graph."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


class Buffer(Structure):
    """`TF_Buffer`: bytes that TensorFlow allocated."""

    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "TF_NewStatus": (c_void_p, []),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_NewBuffer": (POINTER(Buffer), []),
    "TF_DeleteBuffer": (None, [POINTER(Buffer)]),
    "TF_AllocateTensor": (c_void_p, [c_int, c_void_p, c_int, c_size_t]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_SetConfig": (None, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "TF_NewGraph": (c_void_p, []),
    "TF_DeleteGraph": (None, [c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(Buffer), c_void_p],
    ),
    "TF_SessionRun": (
        None,
        [c_void_p, c_void_p, *[c_void_p, c_void_p, c_int] * 2, c_void_p, c_int, c_void_p, c_void_p],
    ),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
}
_LONG = ("TF_LoadSessionFromSavedModel", "TF_SessionRun", "TF_CloseSession", "TF_DeleteSession", "TF_DeleteGraph")
_STRING_BYTES = 24
# ctypes.memmove, without giving the interpreter's lock away for a few bytes.
_memmove = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
    ("memmove", ctypes.PyDLL(None))
)
_SMALL, _LARGE, _OFFSET, _VIEW = range(4)


@cache
def tensorflow() -> SimpleNamespace:
    """The functions, by name; the first call maps the libraries into the process (0.5 s).

    Raises:
        ImportError: the installed TensorFlow has no such library.
    """
    folder = Path(package_folder("tensorflow"))
    names = (
        ("libtensorflow_framework.2.dylib", "libtensorflow_cc.2.dylib")
        if sys.platform == "darwin"
        else ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
    )
    try:
        with _without_greeting():
            libraries = [ctypes.CDLL(str(folder / name)) for name in names]
    except OSError as error:
        raise ImportError(f"{folder}: TensorFlow's C library cannot be loaded: {error}") from error
    functions = SimpleNamespace()
    for name, (result, arguments) in _FUNCTIONS.items():
        library = next(library for library in reversed(libraries) if hasattr(library, name))
        if name not in _LONG:
            library = ctypes.PyDLL(library._name, handle=library._handle)
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
        setattr(functions, name, function)
    return functions


@contextmanager
def _without_greeting() -> Iterator[None]:
    """Silences the libraries while they load: they report absent GPUs before they read TF_CPP_MIN_LOG_LEVEL."""
    if int(os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0")) < 1:
        yield
        return
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


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
    if not isinstance(value, bytes | str):
        raise TypeError(f"a string tensor cannot hold {value!r}, a {type(value).__name__}: give bytes")
    return value if isinstance(value, bytes) else value.encode()


def _read_string(content: bytes, at: int) -> bytes:
    kind = content[at] & 3
    if kind == _SMALL:
        return content[at + 1 : at + 1 + (content[at] >> 2)]
    if kind == _OFFSET:
        raise TypeError("TensorFlow answered a string that is kept by offset; only files hold such")
    pointer_at = at + (16 if kind == _LARGE else 8)
    size = int.from_bytes(content[at : at + 8], "little") >> 2
    return ctypes.string_at(int.from_bytes(content[pointer_at : pointer_at + 8], "little"), size)
