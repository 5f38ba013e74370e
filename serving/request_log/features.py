"""The values of features and outputs in one row, by the four kinds that the log has columns for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from serving.protocol.errors import ServingError
from serving.protocol.json_values import decode_base64, is_base64
from serving.protocol.protos import example_pb2

EVERY_FIELD = "*"
_INT64 = range(-(2**63), 2**63)
# A serialized tf.Example starts with the tag of its only field.
_EXAMPLE_TAG = 0x0A


class Values(NamedTuple):
    """Flattened values; exactly one kind is not None."""

    ints: list[int] | None = None
    floats: list[float] | None = None
    strings: list[str] | None = None
    bytes: list[bytes] | None = None

    def numbers(self) -> list[float] | None:
        """Integers or floats, as floats."""
        return self.floats if self.ints is None else [float(value) for value in self.ints]


Row = dict[str, Values]


class Fields(frozenset[str]):
    """Names of the features that may be logged; `*` stands for all."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or super().__contains__(EVERY_FIELD)


def of_value(value: Any) -> Values | None:
    """The values of a scalar, bytes, `{"b64": …}`, or nested lists of these; None for anything else."""
    if type(value) is float:
        return Values(floats=[value])
    if type(value) is str:
        return Values(strings=[value])
    flat: list[Any] = []
    if not _flatten(value, flat):
        return None
    kinds = set(map(type, flat))
    if kinds <= {int, bool} and all(each in _INT64 for each in flat):
        return Values(ints=[int(each) for each in flat])
    if kinds <= {int, bool, float}:
        return Values(floats=[float(each) for each in flat])
    if kinds <= {str, bytes}:
        return of_strings([each if isinstance(each, bytes) else each.encode() for each in flat])
    return None


def of_strings(values: Sequence[bytes]) -> Values:
    """The values of byte strings: text if all are UTF-8."""
    try:
        return Values(strings=[value.decode() for value in values])
    except UnicodeDecodeError:
        return Values(bytes=list(values))


def of_example(example: Any, fields: Fields) -> Row:
    """The listed features of a tf.Example; one without values is left out."""
    row = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind") if name in fields else None
        if kind == "float_list":
            row[name] = Values(None, feature.float_list.value[:])
        elif kind == "int64_list":
            row[name] = Values(feature.int64_list.value[:])
        elif kind == "bytes_list":
            row[name] = of_strings(feature.bytes_list.value)
    return row


def of_column(name: str, values: Sequence[Any], fields: Fields) -> list[Row]:
    """The rows of one input.

    If its strings are serialized tf.Examples, their features are logged, whatever the input's name: a request does not
    say which strings are Examples, and the list of fields holds names of features.
    """
    if (examples := _examples(values)) is not None:
        return [of_example(example, fields) for example in examples]
    if name not in fields:
        return [{} for _ in values]
    return [{} if (found := of_value(value)) is None else {name: found} for value in values]


def _examples(values: Sequence[Any]) -> list[Any] | None:
    """Strings as tf.Examples if all are; empty ones are Examples without features, unless all are empty."""
    if not values or not isinstance(values[0], bytes | dict):
        return None
    blobs = [value if isinstance(value, bytes) else _from_base64(value) for value in values]
    if not any(blobs) or any(blob is None or (blob and blob[0] != _EXAMPLE_TAG) for blob in blobs):
        return None
    try:
        return [example_pb2.Example.FromString(blob) for blob in blobs]
    except DecodeError:
        return None


def _from_base64(value: Any) -> bytes | None:
    """The bytes of `{"b64": "…"}`; None for anything else."""
    try:
        return decode_base64(value) if is_base64(value) else None
    except ServingError:
        return None


def _flatten(value: Any, flat: list[Any]) -> bool:
    if isinstance(value, list):
        return all(_flatten(each, flat) for each in value)
    if isinstance(value, dict):
        value = _from_base64(value)
    flat.append(value)
    return value is not None
