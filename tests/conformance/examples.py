"""tf.Examples of the conformance model, and what it answers to them."""

from __future__ import annotations

import numpy as np

from serving.protocol.protos import example_pb2


def example(size: float | None = None, rooms: int | None = None, town: bytes | None = None) -> bytes:
    message = example_pb2.Example()
    features = message.features.feature
    if size is not None:
        features["size"].float_list.value.append(size)
    if rooms is not None:
        features["rooms"].int64_list.value.append(rooms)
    if town is not None:
        features["town"].bytes_list.value.append(town)
    serialized: bytes = message.SerializeToString()
    return serialized


EXAMPLES = [example(1.0, 2, b"Ulm"), example(-1.0, 5), example()]
LOGITS = np.array([1.0 * 0.3 - 2 * 0.2 + 3 * 0.1, -1.0 * 0.3 - 5 * 0.2, 0.0])
SCORES = 1 / (1 + np.exp(-LOGITS))
