"""One loaded version of a model, and inference on it.

Checks and their order are those of `servables/tensorflow/predict_util.cc` and TensorFlow's `cc/saved_model/util.cc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.protocol.errors import ServingError, failed_precondition, invalid_argument
from serving.protocol.signatures import CLASSIFY_METHOD, PREDICT_METHOD, REGRESS_METHOD, SERVING_DEFAULT
from serving.protocol.tensor_protos import array_of
from serving.runtime.saved_model import RuntimeStatusError, SavedModel
from serving.server.tf_examples import Classification, classification, regression, tensors_of

_METHODS = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)

Arrays = dict[str, NDArray[Any]]


class Inputs(NamedTuple):
    """The inputs of a signature by name: types (numbers of types.proto), tensors to feed, and default values."""

    dtypes: dict[str, int]
    tensors: dict[str, str]
    defaults: Arrays


class Servable:
    """A SavedModel with a name and a version; many threads may call it at a time.

    Attributes:
        signatures: `SignatureDef` by name.
        inputs: Inputs by the signature's name.
    """

    def __init__(self, name: str, version: int, path: str | Path) -> None:
        self.name = name
        self.version = version
        self.path = Path(path)
        try:
            # Operations run in the thread of the request: requests share the cores, and a third of the time is saved.
            self._model = SavedModel(path, inter_op=-1)
        except RuntimeStatusError as error:
            raise ServingError.of_status(error.code, error.message) from error
        self.signatures: dict[str, Any] = dict(self._model.meta_graph.signature_def)
        try:
            self.inputs = {name: _inputs(signature) for name, signature in self.signatures.items()}
        except ValueError as error:
            self.close()
            raise invalid_argument(f"tensor parsing error: a default of a signature: {error}") from error

    def predict(
        self, signature_name: str, inputs: Mapping[str, NDArray[Any]], output_filter: Sequence[str] = ()
    ) -> Arrays:
        """Outputs of a signature by name.

        Args:
            signature_name: Empty for `serving_default`.
            inputs: Arrays by input name; a missing one is the signature's default, if it has one.
            output_filter: Names of the wanted outputs; all by default.
        """
        name = signature_name or SERVING_DEFAULT
        signature = self.signatures.get(name)
        if signature is None:
            raise failed_precondition(f'Serving signature key "{name}" not found.')
        if signature.method_name not in _METHODS:
            text = f"Signature {name} has the method_name {signature.method_name}, none of {', '.join(_METHODS)}"
            raise ServingError(grpc.StatusCode.INTERNAL, text)
        feeds = _feeds(self.inputs[name], inputs)
        outputs = _filtered(signature, output_filter)
        values = self.tensors(feeds, list(set(outputs.values())))
        return {alias: values[name] for alias, name in outputs.items()}

    def classify(self, signature_name: str, examples: NDArray[Any]) -> Classification:
        """Classes and scores of serialized tf.Examples."""
        feed, fetches = tensors_of(self._signature(signature_name), CLASSIFY_METHOD)
        return classification(fetches, self.tensors({feed: examples}, list(fetches.values())), len(examples))

    def regress(self, signature_name: str, examples: NDArray[Any]) -> NDArray[np.float32]:
        """Values of serialized tf.Examples, [examples]."""
        feed, fetches = tensors_of(self._signature(signature_name), REGRESS_METHOD)
        return regression(fetches, self.tensors({feed: examples}, list(fetches.values())), len(examples))

    def tensors(self, feeds: Mapping[str, NDArray[Any]], fetches: Sequence[str]) -> Arrays:
        """Values of tensors by name, from one run of the graph."""
        try:
            return dict(zip(fetches, self._model.run(feeds, fetches), strict=True))
        except RuntimeStatusError as error:
            raise ServingError.of_status(error.code, error.message) from error
        except (TypeError, ValueError) as error:
            raise invalid_argument(str(error)) from error

    def close(self) -> None:
        """Frees the model, which no call may be using."""
        self._model.close()

    def _signature(self, signature_name: str) -> Any:
        name = signature_name or SERVING_DEFAULT
        if name not in self.signatures:
            raise invalid_argument(f"No signature was found with the name: {name}")
        return self.signatures[name]


def _inputs(signature: Any) -> Inputs:
    infos = dict(sorted(signature.inputs.items()))
    return Inputs(
        {alias: info.dtype for alias, info in infos.items()},
        {alias: info.name for alias, info in infos.items()},
        {alias: array_of(proto) for alias, proto in signature.defaults.items()},
    )


def _feeds(expected: Inputs, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Values by the names of the tensors to feed."""
    tensors, defaults = expected.tensors, expected.defaults
    missing = tensors.keys() - inputs.keys() - defaults.keys()
    if missing or len(inputs) > len(tensors):
        raise invalid_argument(
            f"input size does not match signature: {len(inputs)}!={len(tensors)} "
            f"len({{{_names(inputs)}}}) != len({{{_names(tensors)}}}). "
            f"Sent extra: {{{_names(inputs.keys() - tensors.keys())}}}. Missing but required: {{{_names(missing)}}}."
        )
    if not inputs.keys() <= tensors.keys():
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_names(inputs.keys() & tensors.keys())}, "
            f"request input: {_names(inputs)}"
        )
    return {tensor: inputs[alias] if alias in inputs else defaults[alias] for alias, tensor in tensors.items()}


def _filtered(signature: Any, output_filter: Sequence[str]) -> dict[str, str]:
    """Names of the tensors to fetch, by the names of the outputs."""
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_names(signature.outputs)}}}."
            )
        if output_filter.count(alias) > 1:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return {alias: signature.outputs[alias].name for alias in output_filter or signature.outputs}


def _names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
