"""Calls the signatures of a SavedModel in this process, in the runtime that serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocol.errors import ServingError
from serving.protocol.signatures import PREDICTIONS, RAW
from serving.protocol.tensor_protos import TENSOR_TYPES
from serving.runtime.saved_model import SavedModel
from slipway.data.tensors import MISSING_BYTES, MISSING_FLOAT, MISSING_INT
from slipway.errors import GateError
from slipway.evaluation.serving_checks import first_line

_MARKERS: dict[str, Any] = {"float32": MISSING_FLOAT, "int64": MISSING_INT, "object": MISSING_BYTES}


class Predictor:
    """A SavedModel that takes and returns numpy arrays, batch first; raises `GateError` if it cannot be loaded.

    Attributes:
        signatures: `SignatureDef` by name.
    """

    def __init__(self, model_path: str | Path) -> None:
        self._path = Path(model_path)
        try:
            self._model = SavedModel(model_path)
        except ServingError as error:
            raise GateError(f"{model_path}: TensorFlow cannot load this SavedModel: {first_line(error)}") from error
        self.signatures = self._model.signatures

    def inputs(self, signature: str) -> dict[str, Any]:
        """`TensorInfo` of a signature's inputs by name."""
        return dict(self._signature(signature).inputs)

    def call(self, signature: str, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            GateError: the signature or an input is unknown, missing or of a wrong type, or the model fails.
        """
        definition = self._signature(signature)
        if definition.inputs.keys() != inputs.keys():
            wrong = ", ".join(sorted(definition.inputs.keys() ^ inputs.keys()))
            raise GateError(f"{self._path}: signature {signature!r} has other inputs than those given: {wrong}")
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetches = [info.name for info in definition.outputs.values()]
        try:
            return dict(zip(definition.outputs, self._model.run(feeds, fetches), strict=True))
        except (ServingError, TypeError) as error:
            raise GateError(f"{self._path}: signature {signature!r} fails: {first_line(error)}") from error

    def predict(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Predictions of `raw` for named columns.

        Unknown columns are ignored; columns that are not given are missing in every row, as when a client omits them.
        """
        rows = len(next(iter(inputs.values())))
        expected = self.inputs(RAW)
        named = {name: inputs[name] if name in inputs else _missing(rows, info) for name, info in expected.items()}
        predictions: NDArray[np.float32] = self.call(RAW, named)[PREDICTIONS]
        return predictions

    def _signature(self, name: str) -> Any:
        if name not in self.signatures:
            names = ", ".join(sorted(self.signatures)) or "none"
            raise GateError(f"{self._path} has no signature {name!r}; it has {names}")
        return self.signatures[name]


def _missing(rows: int, info: Any) -> NDArray[Any]:
    """An input of `raw` that is missing in every row; an open dimension has size 1."""
    dtype = TENSOR_TYPES[info.dtype].numpy
    shape = [rows, *(max(dim.size, 1) for dim in info.tensor_shape.dim[1:])]
    return np.full(shape, _MARKERS[dtype.name], dtype)
