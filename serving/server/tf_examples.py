"""Classification and regression of tf.Examples: what their signatures feed, fetch and answer.

The checks are those of `servables/tensorflow/classifier.cc` and `regressor.cc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.protocol.errors import ServingError, failed_precondition, invalid_argument
from serving.protocol.limits import MAX_CONTEXT_BYTES
from serving.protocol.signatures import CLASSIFY_METHOD, REGRESS_METHOD
from serving.protocol.tensor_protos import string_array

# Kind and outputs of each method's signatures.
_METHODS = {
    CLASSIFY_METHOD: ("classification", ("classes", "scores")),
    REGRESS_METHOD: ("regression", ("outputs",)),
}


class Classification(NamedTuple):
    """Answers of a classification, [examples, classes]; a model may leave one of the two out."""

    labels: NDArray[Any] | None
    scores: NDArray[np.float32] | None


def with_context(context: bytes, examples: Sequence[bytes]) -> NDArray[Any]:
    """Serialized tf.Examples with the features of the context, which an example's own features override."""
    if len(context) * len(examples) > MAX_CONTEXT_BYTES:
        raise invalid_argument(
            f"A context of {len(context)} bytes cannot be copied for {len(examples)} examples: send fewer at a time"
        )
    # Joining the bytes of two messages merges them.
    return string_array([context + example for example in examples])


def tensors_of(signature: Any, method: str) -> tuple[str, dict[str, str]]:
    """Name of the tensor to feed for a method, and names of those to fetch by output."""
    kind, outputs = _METHODS[method]
    if signature.method_name != method:
        raise invalid_argument(f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}")
    fetches = {alias: signature.outputs[alias].name for alias in outputs if alias in signature.outputs}
    if list(signature.inputs) != ["inputs"] or not fetches or len(signature.outputs) > len(outputs):
        raise failed_precondition(
            f"Expected {kind} signature to have the input 'inputs' and outputs of {outputs}. Was: {signature}"
        )
    return signature.inputs["inputs"].name, fetches


def classification(fetches: Mapping[str, str], values: Mapping[str, NDArray[Any]], examples: int) -> Classification:
    """The answer of a classification, from tensors by name."""
    labels, scores = (values[fetches[alias]] if alias in fetches else None for alias in ("classes", "scores"))
    found = [array for array in (labels, scores) if array is not None]
    has_types = (labels is None or labels.dtype == object) and (scores is None or scores.dtype == np.float32)
    if not has_types or found[0].shape[:-1] != (examples,) or found[0].shape != found[-1].shape:
        raise _unexpected(f"classes of strings and scores of float32, both [{examples}, classes]", found)
    return Classification(labels, scores)


def regression(fetches: Mapping[str, str], values: Mapping[str, NDArray[Any]], examples: int) -> NDArray[np.float32]:
    """The answer of a regression, from tensors by name."""
    value = values[fetches["outputs"]]
    if value.dtype != np.float32 or value.shape not in ((examples,), (examples, 1)):
        raise _unexpected(f"outputs of float32, [{examples}] or [{examples}, 1]", [value])
    return value.ravel()


def _unexpected(expected: str, found: Sequence[NDArray[Any]]) -> ServingError:
    shown = " and ".join(f"{array.dtype} {list(array.shape)}" for array in found)
    return invalid_argument(f"Expected {expected}. Got: {shown}")
