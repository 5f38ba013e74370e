"""Reads the JSON of predict, classify and regress requests, as `util/json_tensor.cc` does.

Whole columns are converted at a time. Where one does not fit, rows and values are searched for the wrong one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.protocol.errors import ServingError, invalid_argument
from serving.protocol.json_values import decode_base64, is_base64, shown
from serving.protocol.limits import MAX_RANK
from serving.protocol.protos import example_pb2
from serving.protocol.tensor_protos import STRING, TENSOR_TYPES, string_array, type_name
from serving.server.servable import Arrays, with_context

_INT64_MAX = (1 << 63) - 1
_TEXT = {str}
# RapidJSON's names.
_JSON_TYPES = {
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
    bool: "Boolean",
    type(None): "Null",
}


def read_inputs(
    document: Mapping[str, Any], dtypes: Mapping[str, int], optional: Collection[str] = ()
) -> tuple[Arrays, bool]:
    """The tensors of a predict request by name, and whether it has the row format: `instances`, not `inputs`.

    `dtypes` has the types of the signature's inputs (numbers of types.proto); those that are optional may be missing.
    """
    if "instances" in document and "inputs" in document:
        raise invalid_argument(f"JSON Value: {shown(document)} Expecting only one of 'inputs' and 'instances'")
    # A double beyond float32 is infinite, as in TensorFlow Serving.
    with np.errstate(over="ignore"):
        if "instances" in document:
            return _read_rows(_list_of("instances", document), dtypes, optional), True
        if "inputs" in document:
            return _read_columns(document["inputs"], dtypes, optional), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def read_examples(document: Mapping[str, Any]) -> NDArray[np.object_]:
    """The examples of a classify or regress request, serialized, with the features of the context."""
    examples = _list_of("examples", document)
    context = _example(document["context"]) if "context" in document else b""
    return with_context(context, [_example(example) for example in examples])


def _list_of(key: str, document: Mapping[str, Any]) -> list[Any]:
    values = document.get(key)
    if type(values) is not list or not values:
        raise invalid_argument(f"JSON Value: {shown(document)} Expecting '{key}' to be a list of at least one value")
    return values


def _read_rows(rows: list[Any], dtypes: Mapping[str, int], optional: Collection[str]) -> Arrays:
    named = _is_object(rows[0])
    if not named and len(dtypes) > 1:
        raise invalid_argument(
            f"instances is a plain list, but expecting list of objects: the inputs are {', '.join(sorted(dtypes))}"
        )
    try:
        columns = _named_columns(rows, dtypes, optional) if named else {next(iter(dtypes)): rows}
        return {name: _array(values, dtypes[name]) for name, values in columns.items()}
    except ServingError as error:
        raise _wrong_row(rows, dtypes, optional) or error from None


def _named_columns(
    rows: list[dict[str, Any]], dtypes: Mapping[str, int], optional: Collection[str]
) -> dict[str, list[Any]]:
    first, size = rows[0], len(rows[0])
    if dtypes.keys() - optional <= first.keys() <= dtypes.keys():
        with suppress(KeyError, TypeError):
            columns = {name: [row[name] for row in rows] for name in first}
            if all(len(row) == size for row in rows):
                return columns
    raise invalid_argument(f"The objects of the 'instances' list need the keys {', '.join(sorted(dtypes))}")


def _wrong_row(rows: list[Any], dtypes: Mapping[str, int], optional: Collection[str]) -> ServingError | None:
    """The error of the first row that does not fit the inputs or the rows before."""
    named = _is_object(rows[0])
    shapes: dict[str, tuple[int, ...]] = {}
    for index, row in enumerate(rows):
        if _is_object(row) != named:
            expected, got = ("object", "list") if named else ("value/list", "object")
            return invalid_argument(f"Expecting {expected} but got {got} at item {index} of input list")
        element = f"Failed to process element: {index}"
        for name, value in row.items() if named else [(next(iter(dtypes)), row)]:
            where = f"{element} key: {name} of 'instances' list" if named else f"{element} of 'instances' list"
            if name not in dtypes:
                return invalid_argument(f"{where}. Error: the inputs are {', '.join(sorted(dtypes))}")
            try:
                shape = _array(value, dtypes[name]).shape
            except ServingError as error:
                return invalid_argument(f"{where}. Error: {error.code.name}: {error.message}")
            if shape != shapes.setdefault(name, shape):
                return invalid_argument(f"{where}. Error: Expecting shape {shapes[name]} but got: {shape}")
        if named and (row.keys() != rows[0].keys() or dtypes.keys() - optional - row.keys()):
            names = ",".join(sorted(dtypes))
            return invalid_argument(f"{element} of 'instances' list. JSON object: {shown(row)} keys must be: {names}")
    return None


def _read_columns(values: Any, dtypes: Mapping[str, int], optional: Collection[str]) -> Arrays:
    if not _is_object(values):
        if len(dtypes) > 1:
            raise invalid_argument(
                f"inputs is a plain value/list, but expecting an object: the inputs are {', '.join(sorted(dtypes))}"
            )
        values = dict.fromkeys(dtypes, values)
    for name in dtypes:
        if name not in values and name not in optional:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(values[name], dtype) for name, dtype in dtypes.items() if name in values}


def _array(value: Any, dtype: int) -> NDArray[Any]:
    """A value or nested lists of values as a tensor."""
    if type(value) is not list:
        return _vector([value], dtype).reshape(())
    shape = [len(value)]
    while value and type(value[0]) is list:
        size = len(value[0])
        if len(shape) == MAX_RANK:
            raise invalid_argument(f"JSON Value: {shown(value)} is nested too deeply: at most {MAX_RANK} levels")
        if any(type(each) is not list or len(each) != size for each in value):
            raise invalid_argument(f"JSON Value: {shown(value)} Expecting lists of {size} values each")
        shape.append(size)
        value = list(chain.from_iterable(value))
    vector = _vector(value, dtype)
    return vector if len(shape) == 1 else vector.reshape(shape)


def _vector(values: list[Any], dtype: int) -> NDArray[Any]:
    vector = _converted(values, dtype)
    if vector is None:
        raise _wrong_value(values, dtype)
    return vector


def _converted(values: list[Any], dtype: int) -> NDArray[Any] | None:
    """The values as a vector; None if one is of another type."""
    found = set(map(type, values))
    if dtype == STRING:
        if found <= _TEXT:
            return string_array([value.encode() for value in values])
        if not all(type(value) is str or is_base64(value) for value in values):
            return None
        return string_array([value.encode() if type(value) is str else decode_base64(value) for value in values])
    kind = TENSOR_TYPES.get(dtype)
    if not kind or not kind.json or not found <= kind.json:
        return None
    try:
        return np.array(values, kind.json_range).astype(kind.numpy, copy=False)
    except OverflowError:
        return None


def _wrong_value(values: list[Any], dtype: int) -> ServingError:
    """The error of the first value that is of another type."""
    if dtype not in TENSOR_TYPES or not TENSOR_TYPES[dtype].json:
        return ServingError(grpc.StatusCode.UNIMPLEMENTED, f"JSON has no values of type: {type_name(dtype)}")
    while len(values) > 1:
        half = values[: len(values) // 2]
        values = half if _converted(half, dtype) is None else values[len(half) :]
    found = f"JSON Value: {shown(values[0])} Type: {_JSON_TYPES[type(values[0])]}"
    return invalid_argument(f"{found} is not of expected type: {type_name(dtype)}")


def _is_object(value: Any) -> bool:
    return type(value) is dict and not is_base64(value)


def _example(features: Any) -> bytes:
    """A JSON object as a serialized tf.Example."""
    if type(features) is not dict:
        raise invalid_argument(f"Example must be JSON object but got JSON {_JSON_TYPES[type(features)]}")
    example = example_pb2.Example()
    written = example.features.feature
    for name, content in features.items():
        feature = written[name]
        expected = ""
        for value in content if type(content) is list else [content]:
            kind, converted = _feature_value(name, value)
            if expected and kind != expected:
                raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {expected}")
            expected = kind
            getattr(feature, f"{kind}_list").value.append(converted)
    return bytes(example.SerializeToString())


def _feature_value(name: str, value: Any) -> tuple[str, Any]:
    """The kind of list that a value belongs to, and the value."""
    kind = type(value)
    if kind is float:
        return "float", value
    if kind is int or kind is bool:
        if value > _INT64_MAX:
            raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        return "int64", int(value)
    if kind is str:
        return "bytes", value.encode()
    if is_base64(value):
        return "bytes", decode_base64(value)
    raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {_JSON_TYPES[kind]}")
