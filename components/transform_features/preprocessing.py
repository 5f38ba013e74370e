"""The module's `preprocessing_fn`, as TensorFlow Transform calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slipway.errors import ModuleError
from slipway.module_kit.loader import load_function

FUNCTION = "preprocessing_fn"


@dataclass(frozen=True)
class Preprocessing:
    """The module's `preprocessing_fn`, checked; pickled as its URI, so that a remote worker loads the same bytes."""

    uri: str

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Calls the module.

        Raises:
            ModuleError: the function fails, or answers something else than dense tensors by name.
        """
        import tensorflow as tf

        outputs = load_function(self.uri, "preprocessing", FUNCTION)(inputs)
        if not isinstance(outputs, dict) or not outputs:
            raise ModuleError(f"{FUNCTION} returns a dict from names to tensors, not {outputs!r}")
        for name, value in outputs.items():
            if not isinstance(value, tf.Tensor):
                raise ModuleError(
                    f"{FUNCTION} returns {type(value).__name__} for {name!r}; it must be a dense tensor: "
                    "use slipway.module_api.fill_missing, or .to_tensor() of a RaggedTensor"
                )
            if value.shape.rank is None or None in value.shape[1:]:
                raise ModuleError(
                    f"{FUNCTION} returns shape {value.shape} for {name!r}; all but the batch dimension must be known: "
                    "use tf.reshape or tf.ensure_shape"
                )
        return outputs
