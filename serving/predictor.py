"""Calls the signatures of a SavedModel in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.errors import GateError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PREDICTIONS = "predictions"


class Predictor:
    """A loaded SavedModel; each call takes and answers numpy arrays, batch first.

    Raises:
        GateError: the SavedModel cannot be loaded, or has not the signature that is called.
    """

    def __init__(self, model_path: str | Path) -> None:
        import tensorflow as tf

        self._path = Path(model_path)
        try:
            self._model = tf.saved_model.load(str(model_path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise GateError(f"{model_path}: TensorFlow cannot load this SavedModel: {error}") from error

    @property
    def signatures(self) -> list[str]:
        """Names of the signatures."""
        return sorted(self._model.signatures)

    def inputs(self, signature: str) -> dict[str, Any]:
        """Input names to `tf.TensorSpec` of a signature."""
        specs: dict[str, Any] = self._signature(signature).structured_input_signature[1]
        return specs

    def call(self, signature: str, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        import tensorflow as tf

        outputs = self._signature(signature)(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    def predict(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Predictions of `raw` for named columns; columns that this model does not know are left out."""
        known = self.inputs("raw")
        named = {name: value for name, value in inputs.items() if name in known}
        predictions: NDArray[np.float32] = self.call("raw", named)[PREDICTIONS]
        return predictions

    def _signature(self, name: str) -> Any:
        if name not in self._model.signatures:
            raise GateError(f"{self._path} has no signature {name!r}; it has {', '.join(self.signatures) or 'none'}")
        return self._model.signatures[name]
