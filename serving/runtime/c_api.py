"""TensorFlow's C API, as far as serving needs it, from the shared libraries of the installed wheel.

The declarations are those of `tensorflow/c/c_api.h`, `tf_tensor.h` and `tf_status.h`. Slow functions release the
interpreter's lock, so that other requests go on. The hundred fast calls of a request keep it: taking it back is slow.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from serving.protocol.protos import tensorflow_folder


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


@cache
def tensorflow() -> SimpleNamespace:
    """The functions, by name; the first call maps the libraries into the process (0.5 s).

    Raises:
        ImportError: the installed TensorFlow has no such library.
    """
    folder = Path(tensorflow_folder())
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
