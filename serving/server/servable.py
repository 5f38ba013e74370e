"""One loaded version of a model, and inference on it.

Checks and their order are those of TensorFlow's `cc/saved_model/util.cc`, and of `predict_util.cc`, `classifier.cc` and
`regressor.cc` in `servables/tensorflow/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.protocol.errors import ServingError, failed_precondition, invalid_argument
from serving.protocol.limits import MAX_CONTEXT_BYTES
from serving.protocol.signatures import CLASSIFY_METHOD, PREDICT_METHOD, REGRESS_METHOD, SERVING_DEFAULT
from serving.protocol.tensor_protos import array_of, string_array
from serving.runtime.saved_model import SavedModel

# Kind and outputs of each method's signatures.
_EXAMPLE_METHODS = {
    CLASSIFY_METHOD: ("classification", ("classes", "scores")),
    REGRESS_METHOD: ("regression", ("outputs",)),
}

Arrays = dict[str, NDArray[Any]]


class Classification(NamedTuple):
    """Answers of a classification, [examples, classes]; a model may leave one of the two out."""

    labels: NDArray[Any] | None
    scores: NDArray[np.float32] | None


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
        self.path = path
        # Operations run in the thread of the request: requests share the cores, and a third of the time is saved.
        self._model = SavedModel(path, inter_op=-1)
        self.signatures: dict[str, Any] = dict(self._model.meta_graph.signature_def)
        try:
            self.inputs = {name: _inputs(signature) for name, signature in self.signatures.items()}
        except ValueError as error:
            self.close()
            raise invalid_argument(f"tensor parsing error: a default of a signature: {error}") from error

    def predict(
        self, signature_name: str, inputs: Mapping[str, NDArray[Any]], output_filter: Sequence[str] = ()
    ) -> Arrays:
        """Outputs of a signature (`serving_default` if empty) by name: those of the filter, or all.

        An input that is missing has the signature's default, if there is one.
        """
        name = signature_name or SERVING_DEFAULT
        signature = self.signatures.get(name)
        if signature is None:
            raise failed_precondition(f'Serving signature key "{name}" not found.')
        if signature.method_name not in (PREDICT_METHOD, *_EXAMPLE_METHODS):
            text = f"Signature {name} has a method_name that cannot predict: {signature.method_name}"
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
    kind, outputs = _EXAMPLE_METHODS[method]
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
