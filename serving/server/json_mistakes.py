"""Which value of a request is wrong, in TensorFlow Serving's words (`util/json_tensor.cc`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import grpc

from serving.runtime.tensor_protos import MAX_RANK
from serving.runtime.tensors import STRING
from serving.server.errors import ServingError, invalid_argument
from serving.server.json_values import decode_base64, is_base64, shown

_NAMES = {
    1: "float",
    2: "double",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    STRING: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    17: "uint16",
    18: "complex128",
    19: "half",
    22: "uint32",
    23: "uint64",
}
_INT32 = (-(1 << 31), (1 << 31) - 1)
_RANGES = {
    3: _INT32,
    4: _INT32,
    5: _INT32,
    6: _INT32,
    9: (-(1 << 63), (1 << 63) - 1),
    22: (0, (1 << 32) - 1),
    23: (0, (1 << 64) - 1),
}
_CONVERTED = {1, 2, STRING, 10, *_RANGES}
_JSON_NAMES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}


def of_tensor(value: Any, dtype: int) -> ServingError:
    """Why a value is no tensor."""
    try:
        _check_tensor(value, dtype)
    except ServingError as error:
        return error
    return invalid_argument(f"JSON Value: {shown(value)} is no tensor")


def of_rows(rows: list[Any], dtypes: Mapping[str, int], optional: Collection[str]) -> ServingError:
    """Why a list of instances makes no tensors."""
    try:
        _check_rows(rows, dtypes, optional)
    except ServingError as error:
        return error
    return invalid_argument(f"JSON Value: {shown(rows)} are no instances of the signature's inputs")


def json_type(value: Any) -> str:
    """RapidJSON's name of a value's type."""
    return str(value) if type(value) is bool else _JSON_NAMES[type(value)]


def _check_rows(rows: list[Any], dtypes: Mapping[str, int], optional: Collection[str]) -> None:
    named = _is_named(rows[0])
    sizes: dict[str, int] = {}
    shapes: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if named != _is_named(row):
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(f"Expecting {expected} but got {got} at item {index} of input list")
        for name, value in row.items() if named else [(next(iter(dtypes)), row)]:
            try:
                _check_item(value, name, dtypes, sizes, shapes)
            except ServingError as error:
                raise invalid_argument(
                    f"Failed to process element: {index}{f' key: {name}' if named else ''} of 'instances' list. "
                    f"Error: {error.code.name}: {error.message}"
                ) from None
        if named and (row.keys() != rows[0].keys() or any(name not in row and name not in optional for name in dtypes)):
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. JSON object: {shown(row)} "
                f"keys must be equal to: {','.join(sorted(dtypes))}"
            )


def _check_item(
    value: Any, name: str, dtypes: Mapping[str, int], sizes: dict[str, int], shapes: dict[str, list[int]]
) -> None:
    if name not in dtypes:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    size, shape = _check_tensor(value, dtypes[name])
    expected_size, expected_shape = sizes.setdefault(name, size), shapes.setdefault(name, shape)
    if size != expected_size:
        raise invalid_argument(f"Expecting tensor size: {expected_size} but got: {size}")
    if shape != expected_shape:
        raise invalid_argument(f"Expecting shape {_text(expected_shape)} but got: {_text(shape)}")


def _check_tensor(value: Any, dtype: int) -> tuple[int, list[int]]:
    """Number of values and shape."""
    shape: list[int] = []
    inner = value
    while type(inner) is list:
        shape.append(len(inner))
        if len(shape) > MAX_RANK:
            raise invalid_argument(f"JSON Value: {shown(value)} is nested too deeply: at most {MAX_RANK} levels")
        inner = inner[0] if inner else None
    size = _check_level(value, 0, dtype, shape)
    if not size and dtype not in _CONVERTED:
        raise _no_conversion(value, dtype)
    return size, shape


def _check_level(value: Any, level: int, dtype: int, shape: list[int]) -> int:
    rank = len(shape)
    if type(value) is not list:
        if level != rank:
            raise invalid_argument(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {rank}"
            )
        _check_value(value, dtype)
        return 1
    if level >= rank:
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    return sum(_check_level(each, level + 1, dtype, shape) for each in value)


def _check_value(value: Any, dtype: int) -> None:
    kind = type(value)
    if dtype == STRING and kind is dict:
        if not is_base64(value):
            raise invalid_argument(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
        decode_base64(value)
        return
    if dtype in (1, 2):
        fits = kind in (int, float)
    elif dtype == STRING:
        fits = kind is str
    elif dtype == 10:
        fits = kind is bool
    elif dtype in _RANGES:
        low, high = _RANGES[dtype]
        fits = kind is int and low <= value <= high
    elif kind is dict:
        fits = False
    else:
        raise _no_conversion(value, dtype)
    if not fits:
        raise invalid_argument(
            f"JSON Value: {shown(value)} Type: {json_type(value)} is not of expected type: {_NAMES.get(dtype, dtype)}"
        )


def _no_conversion(value: Any, dtype: int) -> ServingError:
    text = f"Conversion of JSON Value: {shown(value)} to type: {_NAMES.get(dtype, dtype)}"
    return ServingError(grpc.StatusCode.UNIMPLEMENTED, text)


def _is_named(row: Any) -> bool:
    return type(row) is dict and not is_base64(row)


def _text(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
