"""The tf.Examples of a request, as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.server.errors import invalid_argument

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A context is copied for each example: a request of a few megabytes could fill any memory.
_MAX_CONTEXT_BYTES = 512 << 20


def with_context(context: bytes, examples: Sequence[bytes]) -> NDArray[Any]:
    """Serialized tf.Examples, each behind the context, whose features are those of all.

    Messages are merged when their bytes are joined; an example's own features win, as they come last.

    Raises:
        ServingError: the context is too large for so many examples.
    """
    if len(context) * len(examples) > _MAX_CONTEXT_BYTES:
        raise invalid_argument(
            f"A context of {len(context)} bytes cannot be copied for {len(examples)} examples: send fewer at a time"
        )
    array = np.empty(len(examples), dtype=object)
    array[:] = [context + example for example in examples] if context else examples
    return array
