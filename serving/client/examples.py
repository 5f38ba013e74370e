"""Serialized tf.Examples of the caller's, as messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from serving.protocol.protos import example_pb2
from slipway.errors import DataError


def parse_examples(serialized: Sequence[bytes]) -> list[Any]:
    """The messages.

    Raises:
        DataError: one is no tf.Example.
    """
    examples = []
    for number, content in enumerate(serialized, 1):
        try:
            examples.append(example_pb2.Example.FromString(content))
        except DecodeError as error:
            raise DataError(f"example {number} of {len(serialized)} is no tf.Example: {len(content)} bytes") from error
    return examples
