"""Predictions for many rows, in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from serving.protocol.signatures import CLASSIFY, RAW, SERVING_DEFAULT
from slipway.data.tensors import raw_inputs, serialize_examples
from slipway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2

    from serving.client import ModelClient


def predict_rows(
    client: ModelClient, rows: pa.Table, features: Sequence[schema_pb2.Feature], signature: str, batch: int
) -> Iterator[dict[str, Any]]:
    """Yields the answer for each row: `class` and `scores`, or the outputs by name.

    Args:
        client: A connected client.
        rows: Columns of the model; an absent column is missing in every row.
        features: `serving.client.row_files.input_features`.
        signature: `raw` sends named tensors, any other tf.Examples.
        batch: Rows of one request.
    """
    if signature != RAW:
        yield from predict_examples(client, serialize_examples(rows, features), signature, batch)
        return
    for start in range(0, rows.num_rows, batch):
        yield from _rows_of(client.predict(raw_inputs(rows.slice(start, batch), features), RAW))


def predict_examples(
    client: ModelClient, examples: Sequence[bytes], signature: str, batch: int
) -> Iterator[dict[str, Any]]:
    """Yields the answer for each serialized tf.Example.

    Raises:
        ConfigError: the signature does not take tf.Examples.
    """
    inputs = client.signatures()[signature].inputs
    if len(inputs) != 1:
        raise ConfigError(f"signature {signature!r} takes named tensors, not tf.Examples: use {SERVING_DEFAULT}")
    name = next(iter(inputs))
    for start in range(0, len(examples), batch):
        part = examples[start : start + batch]
        if signature == CLASSIFY:
            for scores in client.classify(part, signature):
                yield {"class": max(scores, key=scores.__getitem__), "scores": scores}
        else:
            yield from _rows_of(client.predict({name: np.array(part, object)}, signature))


def _rows_of(outputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for values in zip(*outputs.values(), strict=True):
        yield {name: _plain(value) for name, value in zip(outputs, values, strict=True)}


def _plain(value: Any) -> Any:
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return plain.decode(errors="replace") if isinstance(plain, bytes) else plain
