"""The error texts of JSON that makes no tensor: RapidJSON's and TensorFlow Serving's (`util/json_tensor.cc`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import grpc
import numpy as np

from serving.protocol.errors import ServingError, invalid_argument
from serving.protocol.json_values import decode_base64, is_base64, shown
from serving.protocol.limits import MAX_RANK
from serving.protocol.tensor_protos import STRING, TENSOR_TYPES, type_name
from serving.server.tf_examples import shape_text

# Looked up for each of millions of values.
_JSON_TYPES = {number: kind.json for number, kind in TENSOR_TYPES.items() if kind.json}
_RANGES = {
    number: (int(np.iinfo(kind.json_range).min), int(np.iinfo(kind.json_range).max))
    for number, kind in TENSOR_TYPES.items()
    if kind.json == {int}
}
_JSON_NAMES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}


def of_tensor(value: Any, dtype: int) -> ServingError:
    """Why a value makes no tensor."""
    try:
        _check_tensor(value, dtype)
    except ServingError as error:
        return error
    return invalid_argument(f"JSON Value: {shown(value)} is no tensor")


def of_rows(rows: list[Any], dtypes: Mapping[str, int], optional: Collection[str]) -> ServingError:
    """Why `instances` make no tensors."""
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
        raise invalid_argument(f"Expecting shape {shape_text(expected_shape)} but got: {shape_text(shape)}")


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
    if not size and dtype not in _JSON_TYPES:
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
    expected = _JSON_TYPES.get(dtype, ())
    if not expected and kind is not dict:
        raise _no_conversion(value, dtype)
    fits = kind in expected
    if fits and dtype in _RANGES:
        low, high = _RANGES[dtype]
        fits = low <= value <= high
    if not fits:
        raise invalid_argument(
            f"JSON Value: {shown(value)} Type: {json_type(value)} is not of expected type: {type_name(dtype)}"
        )


def _no_conversion(value: Any, dtype: int) -> ServingError:
    text = f"Conversion of JSON Value: {shown(value)} to type: {type_name(dtype)}"
    return ServingError(grpc.StatusCode.UNIMPLEMENTED, text)


def _is_named(row: Any) -> bool:
    return type(row) is dict and not is_base64(row)
