"""Calls the signatures of a SavedModel in this process, as TensorFlow Serving does.

The model is loaded into a session: TensorFlow's C++ runtime restores the variables and reads the `SignatureDef`s, as
it does in TensorFlow Serving. `tf.saved_model.load` builds Python objects instead, and so answers for models whose
signatures read variables that the C++ runtime leaves uninitialised.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.errors import GateError
from slipway.tensors import MISSING_BYTES, MISSING_FLOAT, MISSING_INT

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREDICTIONS = "predictions"


class Predictor:
    """A loaded SavedModel; each call takes and answers numpy arrays, batch first.

    Raises:
        GateError: the SavedModel cannot be loaded.
    """

    def __init__(self, model_path: str | Path) -> None:
        import tensorflow as tf
        from tensorflow.python.saved_model.loader_impl import SavedModelLoader

        self._path = Path(model_path)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                loaded = SavedModelLoader(str(model_path)).load(self._session, [tf.saved_model.SERVING])
        except Exception as error:
            # Damaged files come out of TensorFlow as OpError, ValueError, OSError, IndexError, KeyError, …
            raise GateError(f"{model_path}: TensorFlow cannot load this SavedModel: {_reason(error)}") from error
        self._signatures = {name: each for name, each in loaded.signature_def.items() if not name.startswith("__")}

    @property
    def signatures(self) -> list[str]:
        """Names of the signatures."""
        return sorted(self._signatures)

    def inputs(self, signature: str) -> dict[str, Any]:
        """Input names to `tf.TensorSpec` of a signature."""
        import tensorflow as tf

        return {
            name: tf.TensorSpec(info.tensor_shape, tf.as_dtype(info.dtype), name)
            for name, info in self._signature(signature).inputs.items()
        }

    def call(self, signature: str, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            GateError: the model has no such signature, an input is missing, unknown or of a wrong type, or computing
                the answer fails.
        """
        import tensorflow as tf

        definition = self._signature(signature)
        if definition.inputs.keys() != inputs.keys():
            wrong = ", ".join(sorted(definition.inputs.keys() ^ inputs.keys()))
            raise GateError(f"{self._path}: signature {signature!r} has other inputs than those given: {wrong}")
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetches = {name: info.name for name, info in definition.outputs.items()}
        try:
            outputs: dict[str, NDArray[Any]] = self._session.run(fetches, feeds)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise GateError(f"{self._path}: signature {signature!r} fails: {_reason(error)}") from error
        return outputs

    def predict(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Predictions of `raw` for named columns.

        A column that this model does not know is left out; one that it knows and that is not given is missing in
        every row, as it is when a client leaves it out.
        """
        rows = len(next(iter(inputs.values())))
        named = {
            name: inputs[name] if name in inputs else _missing(rows, spec) for name, spec in self.inputs("raw").items()
        }
        predictions: NDArray[np.float32] = self.call("raw", named)[PREDICTIONS]
        return predictions

    def _signature(self, name: str) -> Any:
        if name not in self._signatures:
            raise GateError(f"{self._path} has no signature {name!r}; it has {', '.join(self.signatures) or 'none'}")
        return self._signatures[name]


def _missing(rows: int, spec: Any) -> NDArray[Any]:
    """An input of `raw` that is missing in every row."""
    shape = [rows, *(size or 1 for size in spec.shape[1:])]
    marker = {"float32": MISSING_FLOAT, "int64": MISSING_INT, "string": MISSING_BYTES}[spec.dtype.name]
    return np.full(shape, marker, dtype=object if spec.dtype.name == "string" else spec.dtype.as_numpy_dtype)


def _reason(error: Exception) -> str:
    """The line of TensorFlow's error that says what is wrong, without where in the graph it was found."""
    frame = ("Graph execution error", "Detected at node", "<stack traces", "File ")
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not line.startswith(frame)), type(error).__name__)
