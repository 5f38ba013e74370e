"""One loaded version of a model, and the inference that TensorFlow Serving offers on it.

The checks, their order and their texts are those of `servables/tensorflow/{predict_util,classifier,regressor}.cc` and
TensorFlow's `cc/saved_model/util.cc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import numpy as np

from serving.runtime.saved_model import RuntimeStatusError, SavedModel
from serving.runtime.tensor_protos import array_of
from serving.server.errors import ServingError, failed_precondition, invalid_argument

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_SIGNATURE = "serving_default"
PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

Arrays = dict[str, "NDArray[Any]"]


class Classification(NamedTuple):
    """Answers of a classification, [examples, classes]; a model may leave one of the two out."""

    labels: NDArray[Any] | None
    scores: NDArray[np.float32] | None


class Servable:
    """A SavedModel with a name and a version; many threads may call it at a time.

    Raises:
        ServingError: the SavedModel cannot be loaded.
    """

    def __init__(self, name: str, version: int, path: str | Path) -> None:
        self.name = name
        self.version = version
        self.path = Path(path)
        try:
            self._model = SavedModel(path)
        except RuntimeStatusError as error:
            raise ServingError.of_runtime(error) from error
        self.signatures: dict[str, Any] = dict(self._model.meta_graph.signature_def)
        self._defaults: dict[str, Arrays] = {
            name: {alias: array_of(proto) for alias, proto in each.defaults.items()}
            for name, each in self.signatures.items()
        }

    def predict(
        self, signature_name: str, inputs: Mapping[str, NDArray[Any]], output_filter: Sequence[str] = ()
    ) -> Arrays:
        """Outputs of a signature by name.

        Args:
            signature_name: Empty for `serving_default`.
            inputs: Arrays by input name; one that is left out is the signature's default, if it has one.
            output_filter: Names of the wanted outputs; all by default.

        Raises:
            ServingError: the request does not fit the signature, or computing fails.
        """
        name = signature_name or DEFAULT_SIGNATURE
        signature = self.signatures.get(name)
        if signature is None:
            raise failed_precondition(f'Serving signature key "{name}" not found.')
        if signature.method_name not in (PREDICT, CLASSIFY, REGRESS):
            raise ServingError(
                grpc.StatusCode.INTERNAL,
                "Expected prediction signature method_name to be one of "
                f"{{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: {signature.method_name}",
            )
        feeds = _feeds(signature, self._defaults[name], inputs)
        outputs = _filtered(signature, output_filter)
        values = self.run(feeds, [signature.outputs[alias].name for alias in outputs])
        return dict(zip(outputs, values, strict=True))

    def classify(self, signature_name: str, examples: NDArray[Any]) -> Classification:
        """Classes and scores of serialized tf.Examples.

        Raises:
            ServingError: the signature is no classification, or computing fails.
        """
        signature = self._signature(signature_name, CLASSIFY, "classification")
        feed, fetches = classification_tensors(signature)
        return classification(signature, len(examples), self._tensors({feed: examples}, fetches))

    def regress(self, signature_name: str, examples: NDArray[Any]) -> NDArray[np.float32]:
        """Values of serialized tf.Examples, [examples].

        Raises:
            ServingError: the signature is no regression, or computing fails.
        """
        signature = self._signature(signature_name, REGRESS, "regression")
        feed, fetches = regression_tensors(signature)
        return regression(signature, len(examples), self._tensors({feed: examples}, fetches))

    def run(self, feeds: Mapping[str, NDArray[Any]], fetches: Sequence[str]) -> list[NDArray[Any]]:
        """Values of tensors of the graph.

        Raises:
            ServingError: with TensorFlow's own code and text.
        """
        try:
            return self._model.run(feeds, fetches)
        except RuntimeStatusError as error:
            raise ServingError.of_runtime(error) from error
        except TypeError as error:
            raise invalid_argument(str(error)) from error

    def _tensors(self, feeds: Mapping[str, NDArray[Any]], fetches: Sequence[str]) -> Arrays:
        return dict(zip(fetches, self.run(feeds, fetches), strict=True))

    def close(self) -> None:
        """Frees the model; no call may be running."""
        self._model.close()

    def _signature(self, signature_name: str, method: str, kind: str) -> Any:
        name = signature_name or DEFAULT_SIGNATURE
        signature = self.signatures.get(name)
        if signature is None:
            raise invalid_argument(f"No signature was found with the name: {name}")
        _check_method(signature, method, kind)
        return signature


def classification_tensors(signature: Any) -> tuple[str, list[str]]:
    """Names of the tensors to feed and to fetch for a classification.

    Raises:
        ServingError: the signature is none.
    """
    _check_method(signature, CLASSIFY, "classification")
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


def classification(signature: Any, examples: int, values: Mapping[str, NDArray[Any]]) -> Classification:
    """The answer of a classification, from tensors by name.

    Raises:
        ServingError: the model answered something else.
    """
    found: Arrays = {
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


def regression_tensors(signature: Any) -> tuple[str, list[str]]:
    """Names of the tensors to feed and to fetch for a regression.

    Raises:
        ServingError: the signature is none.
    """
    _check_method(signature, REGRESS, "regression")
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise failed_precondition(f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise failed_precondition(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name, [signature.outputs["outputs"].name]


def regression(signature: Any, examples: int, values: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
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


def shape_text(shape: Iterable[int]) -> str:
    """A shape as TensorFlow prints it."""
    return f"[{','.join(map(str, shape))}]"


def _check_method(signature: Any, method: str, kind: str) -> None:
    if signature.method_name != method:
        raise invalid_argument(f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}")


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


def _filtered(signature: Any, output_filter: Sequence[str]) -> list[str]:
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_names(signature.outputs)}}}."
            )
        if output_filter.count(alias) > 1:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return list(output_filter or signature.outputs)


def _names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
