"""One loaded version of a model, and inference on it.

Checks, their order and their texts are those of `servables/tensorflow/predict_util.cc` and TensorFlow's
`cc/saved_model/util.cc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.protocol.errors import ServingError, failed_precondition, invalid_argument
from serving.protocol.signatures import CLASSIFY_METHOD, PREDICT_METHOD, REGRESS_METHOD, SERVING_DEFAULT
from serving.protocol.tensor_protos import array_of
from serving.runtime.saved_model import RuntimeStatusError, SavedModel
from serving.server.tf_examples import (
    Classification,
    classification_result,
    classification_tensors,
    regression_result,
    regression_tensors,
)

_METHODS = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)

Arrays = dict[str, NDArray[Any]]


class Servable:
    """A SavedModel with a name and a version; many threads may call it at a time."""

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
            self._defaults: dict[str, Arrays] = {
                name: {alias: array_of(proto) for alias, proto in each.defaults.items()}
                for name, each in self.signatures.items()
            }
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
            raise ServingError(
                grpc.StatusCode.INTERNAL,
                "Expected prediction signature method_name to be one of "
                f"{{{', '.join(_METHODS)}}}. Was: {signature.method_name}",
            )
        feeds = _feeds(signature, self._defaults[name], inputs)
        outputs = _filtered(signature, output_filter)
        values = self.tensors(feeds, list(set(outputs.values())))
        return {alias: values[name] for alias, name in outputs.items()}

    def classify(self, signature_name: str, examples: NDArray[Any]) -> Classification:
        """Classes and scores of serialized tf.Examples."""
        signature = self._signature(signature_name)
        feed, fetches = classification_tensors(signature)
        return classification_result(signature, len(examples), self.tensors({feed: examples}, fetches))

    def regress(self, signature_name: str, examples: NDArray[Any]) -> NDArray[np.float32]:
        """Values of serialized tf.Examples, [examples]."""
        signature = self._signature(signature_name)
        feed, fetches = regression_tensors(signature)
        return regression_result(signature, len(examples), self.tensors({feed: examples}, fetches))

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
        signature = self.signatures.get(name)
        if signature is None:
            raise invalid_argument(f"No signature was found with the name: {name}")
        return signature


def _feeds(signature: Any, defaults: Arrays, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Values by the names of the tensors to feed."""
    expected = signature.inputs
    if len(inputs) > len(expected) or (len(inputs) < len(expected) and not defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(inputs)}!={len(expected)} "
            f"len({{{_names(inputs)}}}) != len({{{_names(expected)}}}). "
            f"Sent extra: {{{_names(inputs.keys() - expected.keys())}}}. "
            f"Missing but required: {{{_names(expected.keys() - inputs.keys())}}}."
        )
    feeds = {}
    used = 0
    for alias, info in expected.items():
        value = inputs.get(alias)
        if value is not None:
            used += 1
        else:
            value = defaults.get(alias)
        if value is None:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {{{_names(inputs)}}}, or default input alias set: "
                f"{_names(defaults)}"
            )
        feeds[info.name] = value
    if used != len(inputs):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_names(inputs.keys() & expected.keys())}, "
            f"request input: {_names(inputs)}"
        )
    return feeds


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
