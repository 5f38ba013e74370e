"""Reads the `examples` and `context` of classify and regress requests (`util/json_tensor.cc`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocol.errors import invalid_argument
from serving.protocol.json_values import decode_base64, is_base64, shown
from serving.protocol.protos import example_pb2
from serving.server.json_errors import json_type
from serving.server.tf_examples import with_context

_INT64_MAX = (1 << 63) - 1


def read_examples(document: Mapping[str, Any]) -> NDArray[np.object_]:
    """The examples of a request, serialized, with the features of the context."""
    context = b""
    if "context" in document:
        context = _serialize(document["context"])
    if "examples" not in document:
        raise invalid_argument(
            f"JSON Value: {shown(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if type(examples) is not list:
        raise invalid_argument(f"JSON Value: {shown(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid_argument(f"JSON Value: {shown(document)} 'examples' value is an empty array")
    return with_context(context, [_serialize(example) for example in examples])


def _serialize(value: Any) -> bytes:
    if type(value) is not dict:
        raise invalid_argument(f"Example must be JSON object but got JSON {json_type(value)}")
    example = example_pb2.Example()
    features = example.features.feature
    for name, content in value.items():
        values = content if type(content) is list else [content]
        _fill(features[name], name, values)
    return bytes(example.SerializeToString())


def _fill(feature: Any, name: str, values: list[Any]) -> None:
    kind = ""
    for value in values:
        found, converted = _convert(value, name)
        if kind and found != kind:
            raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {kind}")
        kind = found
        getattr(feature, f"{kind}_list").value.append(converted)


def _convert(value: Any, name: str) -> tuple[str, Any]:
    """The kind of list that a value belongs to, and the value."""
    kind = type(value)
    if kind is float:
        return "float", value
    if kind is bool:
        return "int64", int(value)
    if kind is int:
        if value > _INT64_MAX:
            raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        return "int64", value
    if kind is str:
        return "bytes", value.encode()
    if is_base64(value):
        return "bytes", decode_base64(value)
    raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {json_type(value)}")
