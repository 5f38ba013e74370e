"""Classification and regression of tf.Examples: what their signatures feed, fetch and answer.

Checks and texts are those of `servables/tensorflow/classifier.cc` and `regressor.cc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.protocol.errors import failed_precondition, invalid_argument
from serving.protocol.limits import MAX_CONTEXT_BYTES
from serving.protocol.signatures import CLASSIFY_METHOD, REGRESS_METHOD
from serving.protocol.tensor_protos import string_array

_CLASSES, _SCORES = "classes", "scores"


class Classification(NamedTuple):
    """Answers of a classification, [examples, classes]; a model may leave one of the two out."""

    labels: NDArray[Any] | None
    scores: NDArray[np.float32] | None


def with_context(context: bytes, examples: Sequence[bytes]) -> NDArray[Any]:
    """Serialized tf.Examples with the features of the context, which an example's own features override.

    Joining the bytes of two messages merges them.
    """
    if len(context) * len(examples) > MAX_CONTEXT_BYTES:
        raise invalid_argument(
            f"A context of {len(context)} bytes cannot be copied for {len(examples)} examples: send fewer at a time"
        )
    return string_array([context + example for example in examples])


def classification_tensors(signature: Any) -> tuple[str, list[str]]:
    """Names of the tensors to feed and to fetch for a classification."""
    _check_signature(signature, "classification", CLASSIFY_METHOD)
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise failed_precondition(f"No classification inputs found in SignatureDef: {signature}")
    outputs = [signature.outputs[alias].name for alias in (_CLASSES, _SCORES) if alias in signature.outputs]
    if not outputs:
        raise failed_precondition(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}"
        )
    return signature.inputs["inputs"].name, outputs


def classification_result(signature: Any, examples: int, values: Mapping[str, NDArray[Any]]) -> Classification:
    """The answer of a classification, from tensors by name."""
    found = {alias: values[info.name] for alias, info in signature.outputs.items() if alias in (_CLASSES, _SCORES)}
    for alias, dtype, name in ((_CLASSES, object, "DT_STRING"), (_SCORES, np.float32, "DT_FLOAT")):
        value = found.get(alias)
        if value is None:
            continue
        if value.ndim != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(value.shape)}")
        if value.dtype != dtype:
            raise invalid_argument(f"Expected {alias} Tensor of {name}. Got: {value.dtype}")
        if len(value) != examples:
            raise invalid_argument(f"Expected {alias} output batch size of {examples}. Got: {len(value)}")
    labels, scores = found.get(_CLASSES), found.get(_SCORES)
    if labels is not None and scores is not None and labels.shape != scores.shape:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    return Classification(labels, scores)


def regression_tensors(signature: Any) -> tuple[str, list[str]]:
    """Names of the tensors to feed and to fetch for a regression."""
    _check_signature(signature, "regression", REGRESS_METHOD)
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise failed_precondition(f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise failed_precondition(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name, [signature.outputs["outputs"].name]


def regression_result(signature: Any, examples: int, values: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The answer of a regression, from tensors by name."""
    value = values[signature.outputs["outputs"].name]
    if not (value.ndim == 1 or (value.ndim == 2 and value.shape[1] == 1)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] "
            f"but got {shape_text(value.shape)}"
        )
    if len(value) != examples:
        raise invalid_argument(f"Input batch size did not match output batch size: {examples} vs. {len(value)}")
    if value.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {value.dtype}")
    return value.ravel()


def shape_text(shape: Iterable[int]) -> str:
    """A shape as TensorFlow prints it."""
    return f"[{','.join(map(str, shape))}]"


def _check_signature(signature: Any, kind: str, method: str) -> None:
    if signature.method_name != method:
        raise invalid_argument(f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}")
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
