"""Reads the tensors of a predict request in JSON, as `util/json_tensor.cc` does.

Whole columns are converted at a time. Where one does not fit, `json_errors` checks its values one by one, as TensorFlow
Serving does, and says which one is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocol.errors import ServingError, invalid_argument
from serving.protocol.json_values import decode_base64, is_base64, shown
from serving.protocol.limits import MAX_RANK
from serving.protocol.tensor_protos import STRING, TENSOR_TYPES, string_array
from serving.server import json_errors

Arrays = dict[str, NDArray[Any]]

_TEXT = {str}


def read_inputs(
    document: Mapping[str, Any], dtypes: Mapping[str, int], optional: Collection[str] = ()
) -> tuple[Arrays, bool]:
    """The tensors of a predict request.

    Args:
        document: The body: `instances` (row format) or `inputs` (column format).
        dtypes: Types of the signature's inputs by name; numbers of types.proto.
        optional: Names of inputs with a default, which may be missing.

    Returns:
        Arrays by name, and whether the request has the row format.
    """
    # A double beyond float32 is infinite, as in TensorFlow Serving.
    with np.errstate(over="ignore"):
        return _read_inputs(document, dtypes, optional)


def _read_inputs(
    document: Mapping[str, Any], dtypes: Mapping[str, int], optional: Collection[str]
) -> tuple[Arrays, bool]:
    if "instances" in document:
        if "inputs" in document:
            raise invalid_argument(
                f"JSON Value: {shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
                "keys to exist "
            )
        rows = document["instances"]
        if type(rows) is not list:
            raise invalid_argument(f"JSON Value: {shown(document)} Expecting 'instances' to be an list/array")
        if not rows:
            raise invalid_argument(f"JSON Value: {shown(document)} No values in 'instances' array")
        return _read_rows(rows, dtypes, optional), True
    if "inputs" in document:
        return _read_columns(document["inputs"], dtypes, optional), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _read_rows(rows: list[Any], dtypes: Mapping[str, int], optional: Collection[str]) -> Arrays:
    first = rows[0]
    if type(first) is not dict and len(dtypes) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if type(first) is dict and not is_base64(first):
        arrays = _read_named_rows(rows, first, dtypes, optional)
    else:
        name, dtype = next(iter(dtypes.items()))
        array = None if any(type(row) is dict and not is_base64(row) for row in rows) else _array(rows, dtype)
        arrays = None if array is None else {name: array}
    if arrays is None:
        raise json_errors.of_rows(rows, dtypes, optional)
    return arrays


def _read_named_rows(
    rows: list[Any], first: Mapping[str, Any], dtypes: Mapping[str, int], optional: Collection[str]
) -> Arrays | None:
    """Arrays by name; None if a row is wrong."""
    if not all(name in first or name in optional for name in dtypes) or not first.keys() <= dtypes.keys():
        return None
    size = len(first)
    arrays = {}
    try:
        for name in first:
            array = _array([row[name] for row in rows], dtypes[name])
            if array is None:
                return None
            arrays[name] = array
    except (KeyError, TypeError, IndexError):
        return None
    return arrays if all(len(row) == size for row in rows) else None


def _read_columns(values: Any, dtypes: Mapping[str, int], optional: Collection[str]) -> Arrays:
    if type(values) is not dict or is_base64(values):
        if len(dtypes) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        values = dict.fromkeys(dtypes, values)
    arrays = {}
    for name, dtype in dtypes.items():
        if name not in values:
            if name in optional:
                continue
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        array = _array(values[name], dtype)
        if array is None:
            raise json_errors.of_tensor(values[name], dtype)
        arrays[name] = array
    return arrays


def _array(value: Any, dtype: int) -> NDArray[Any] | None:
    """A value or nested lists of values as a tensor; None if they do not make one of this type."""
    if type(value) is not list:
        scalar = _vector([value], dtype)
        return None if scalar is None else scalar.reshape(())
    shape = [len(value)]
    while value and type(value[0]) is list:
        size = len(value[0])
        if len(shape) == MAX_RANK or any(type(each) is not list or len(each) != size for each in value):
            return None
        shape.append(size)
        value = list(chain.from_iterable(value))
    vector = _vector(value, dtype)
    return vector if vector is None or len(shape) == 1 else vector.reshape(shape)


def _vector(values: list[Any], dtype: int) -> NDArray[Any] | None:
    found = set(map(type, values))
    if dtype == STRING:
        return _strings(values, found)
    kind = TENSOR_TYPES.get(dtype)
    if not kind or not kind.json or not found <= kind.json:
        return None
    try:
        return np.array(values, kind.json_range).astype(kind.numpy, copy=False)
    except OverflowError:
        return None


def _strings(values: list[Any], found: set[type]) -> NDArray[Any] | None:
    if found <= _TEXT:
        strings = [value.encode() for value in values]
    elif found <= {str, dict} and all(type(value) is str or is_base64(value) for value in values):
        try:
            strings = [value.encode() if type(value) is str else decode_base64(value) for value in values]
        except ServingError:
            return None
    else:
        return None
    return string_array(strings)
