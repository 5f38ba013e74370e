"""Answers requests in protos with a servable: those of gRPC, and those that warm-up replays."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.protocol import protos
from serving.protocol.errors import ServingError, invalid_argument
from serving.protocol.signatures import CLASSIFY_METHOD, REGRESS_METHOD, SERVING_DEFAULT
from serving.protocol.tensor_protos import array_of, tensor_proto
from serving.server.servable import Classification, Servable, classification, regression, tensors_of, with_context


def predict(servable: Servable, request: Any) -> Any:
    """Answers a `PredictRequest`."""
    inputs = {}
    for alias, proto in request.inputs.items():
        try:
            inputs[alias] = array_of(proto)
        except ValueError as error:
            raise invalid_argument(f"tensor parsing error: {alias}") from error
    spec = request.model_spec
    outputs = servable.predict(spec.signature_name, inputs, list(request.output_filter))
    response = protos.predict_pb2.PredictResponse()
    _set_spec(response.model_spec, servable, spec)
    for alias, value in outputs.items():
        response.outputs[alias].CopyFrom(tensor_proto(value))
    return response


def classify(servable: Servable, request: Any) -> Any:
    """Answers a `ClassificationRequest`."""
    response = protos.classification_pb2.ClassificationResponse()
    _set_spec(response.model_spec, servable, request.model_spec)
    _add_classes(response.result, servable.classify(request.model_spec.signature_name, examples_of(request.input)))
    return response


def regress(servable: Servable, request: Any) -> Any:
    """Answers a `RegressionRequest`."""
    response = protos.regression_pb2.RegressionResponse()
    _set_spec(response.model_spec, servable, request.model_spec)
    _add_values(response.result, servable.regress(request.model_spec.signature_name, examples_of(request.input)))
    return response


def multi_inference(servable: Servable, request: Any) -> Any:
    """Answers a `MultiInferenceRequest` with one run of the graph (`servables/tensorflow/multi_inference.cc`)."""
    tensors = _tensors_of_tasks(servable, request.tasks)
    if len({feed for feed, _ in tensors}) > 1:
        raise invalid_argument("Input tensor must be the same for all Signatures.")
    examples = examples_of(request.input)
    wanted = sorted({name for _, fetches in tensors for name in fetches.values()})
    values = servable.tensors({tensors[0][0]: examples}, wanted)
    response = protos.inference_pb2.MultiInferenceResponse()
    for task, (_, fetches) in zip(request.tasks, tensors, strict=True):
        result = response.results.add()
        _set_spec(result.model_spec, servable, task.model_spec)
        if task.method_name == CLASSIFY_METHOD:
            _add_classes(result.classification_result, classification(fetches, values, len(examples)))
        else:
            _add_values(result.regression_result, regression(fetches, values, len(examples)))
    return response


def metadata(servable: Servable) -> Any:
    """A `GetModelMetadataResponse` with all signatures."""
    signatures = protos.get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response = protos.get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = servable.name
    response.model_spec.version.value = servable.version
    response.metadata["signature_def"].Pack(signatures)
    return response


def examples_of(given: Any) -> NDArray[Any]:
    """Serialized tf.Examples of an `Input`, each with the features of its context."""
    kind = given.WhichOneof("kind")
    examples = getattr(given, kind).examples if kind else []
    if not examples:
        raise invalid_argument("Input is empty.")
    context = given.example_list_with_context.context.SerializeToString() if kind != "example_list" else b""
    return with_context(context, [example.SerializeToString() for example in examples])


def _tensors_of_tasks(servable: Servable, tasks: Any) -> list[tuple[str, dict[str, str]]]:
    """The tensors to feed and to fetch for each task; checks all before anything is computed."""
    tensors: dict[str, tuple[str, dict[str, str]]] = {}
    for task in tasks:
        spec = task.model_spec
        if not spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        # Not the servable's name: warm-up requests keep the name that the model had in training.
        if spec.name != tasks[0].model_spec.name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = spec.signature_name or SERVING_DEFAULT
        if name in tensors:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        if name not in servable.signatures:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
            text = f"Unsupported signature method_name: {task.method_name}"
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, text)
        tensors[name] = tensors_of(servable.signatures[name], task.method_name)
    return list(tensors.values())


def _set_spec(spec: Any, servable: Servable, requested: Any) -> None:
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = requested.signature_name or SERVING_DEFAULT


def _add_classes(result: Any, found: Classification) -> None:
    width = next(array for array in found if array is not None).shape
    labels = [[b""] * width[1]] * width[0] if found.labels is None else found.labels.tolist()
    scores = [[0.0] * width[1]] * width[0] if found.scores is None else found.scores.tolist()
    for row_labels, row_scores in zip(labels, scores, strict=True):
        add = result.classifications.add().classes.add
        for label, score in zip(row_labels, row_scores, strict=True):
            add(label=label.decode(errors="replace"), score=score)


def _add_values(result: Any, values: NDArray[np.float32]) -> None:
    add = result.regressions.add
    for value in values.tolist():
        add(value=value)
