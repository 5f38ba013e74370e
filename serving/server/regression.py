"""A signature that answers a number for each tf.Example; checks and texts are those of `regressor.cc`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.server.classification import shape_text
from serving.server.errors import failed_precondition, invalid_argument

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHOD = "tensorflow/serving/regress"


def tensors(signature: Any) -> tuple[str, list[str]]:
    """Names of the tensors to feed and to fetch for a regression.

    Raises:
        ServingError: the signature is none.
    """
    if signature.method_name != METHOD:
        raise invalid_argument(
            f"Expected regression signature method_name to be {METHOD}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise failed_precondition(f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise failed_precondition(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name, [signature.outputs["outputs"].name]


def result(signature: Any, examples: int, values: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The answer of a regression, from tensors by name.

    Raises:
        ServingError: the model answered something else.
    """
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
