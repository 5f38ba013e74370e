"""A signature that classifies tf.Examples; checks and texts are those of `servables/tensorflow/classifier.cc`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from serving.server.errors import failed_precondition, invalid_argument

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHOD = "tensorflow/serving/classify"


class Classification(NamedTuple):
    """Answers of a classification, [examples, classes]; a model may leave one of the two out."""

    labels: NDArray[Any] | None
    scores: NDArray[np.float32] | None


def tensors(signature: Any) -> tuple[str, list[str]]:
    """Names of the tensors to feed and to fetch for a classification.

    Raises:
        ServingError: the signature is none.
    """
    if signature.method_name != METHOD:
        raise invalid_argument(
            f"Expected classification signature method_name to be {METHOD}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise failed_precondition(f"No classification inputs found in SignatureDef: {signature}")
    outputs = [signature.outputs[alias].name for alias in ("classes", "scores") if alias in signature.outputs]
    if not outputs:
        raise failed_precondition(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}"
        )
    return signature.inputs["inputs"].name, outputs


def result(signature: Any, examples: int, values: Mapping[str, NDArray[Any]]) -> Classification:
    """The answer of a classification, from tensors by name.

    Raises:
        ServingError: the model answered something else.
    """
    found: dict[str, NDArray[Any]] = {
        alias: values[signature.outputs[alias].name] for alias in ("classes", "scores") if alias in signature.outputs
    }
    for alias, dtype, name in (
        ("classes", np.dtype(object), "DT_STRING"),
        ("scores", np.dtype(np.float32), "DT_FLOAT"),
    ):
        if alias not in found:
            continue
        value = found[alias]
        if value.ndim != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(value.shape)}")
        if value.dtype != dtype:
            raise invalid_argument(f"Expected {alias} Tensor of {name}. Got: {value.dtype}")
        if len(value) != examples:
            raise invalid_argument(f"Expected {alias} output batch size of {examples}. Got: {len(value)}")
    labels, scores = found.get("classes"), found.get("scores")
    if labels is not None and scores is not None and labels.shape != scores.shape:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    return Classification(labels, scores)


def shape_text(shape: Iterable[int]) -> str:
    """A shape as TensorFlow prints it."""
    return f"[{','.join(map(str, shape))}]"
