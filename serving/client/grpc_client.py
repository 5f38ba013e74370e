"""The gRPC client; gRPC's own retry policy tries again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import grpc

from serving.client import ATTEMPTS, NOT_SERVED
from serving.client.examples import parse_examples
from serving.protocol.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from serving.protocol.tensor_protos import array_of, tensor_proto
from slipway.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

_RETRY_POLICY = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": ATTEMPTS,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.service_config", json.dumps(_RETRY_POLICY)),
    # A server on a private network is not behind the proxy of the web.
    ("grpc.enable_http_proxy", 0),
]


class GrpcClient:
    """See `serving.client.ModelClient`."""

    def __init__(self, address: str, model: str, version: int | None, timeout_seconds: float) -> None:
        self._address = address
        self._timeout = timeout_seconds
        self._spec = model_pb2.ModelSpec(name=model)
        if version is not None:
            self._spec.version.value = version
        self._channel = grpc.insecure_channel(address, _OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def signatures(self) -> dict[str, Any]:
        """`SignatureDef` by name."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec, metadata_field=["signature_def"]
        )
        answer = self._call(self._predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        # `__saved_model_init_op` is the loader's, not the clients'.
        return {name: each for name, each in signatures.signature_def.items() if not name.startswith("__")}

    def states(self) -> dict[int, str]:
        """State of each version."""
        answer = self._call(
            self._models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec)
        )
        name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {status.version: name(status.state) for status in answer.model_version_status}

    def predict(
        self, inputs: Mapping[str, NDArray[Any]], signature: str = "serving_default"
    ) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        request = predict_pb2.PredictRequest(model_spec=self._signed(signature))
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tensor_proto(values))
        answer = self._call(self._predictions.Predict, request)
        try:
            return {name: array_of(tensor) for name, tensor in answer.outputs.items()}
        except ValueError as error:
            raise RequestError(f"{self._address} answered what is no tensor for numpy: {error}") from error

    def classify(self, examples: Sequence[bytes], signature: str = "classify") -> list[dict[str, float]]:
        """Score of each class, for each example."""
        request = classification_pb2.ClassificationRequest(model_spec=self._signed(signature))
        request.input.example_list.examples.extend(parse_examples(examples))
        answer = self._call(self._predictions.Classify, request)
        return [{one.label: one.score for one in each.classes} for each in answer.result.classifications]

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _signed(self, signature: str) -> Any:
        spec = model_pb2.ModelSpec(signature_name=signature)
        spec.MergeFrom(self._spec)
        return spec

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code == grpc.StatusCode.UNAVAILABLE:
                raise RequestError(
                    f"no model server answers at {self._address} over gRPC ({details}). Start one with "
                    "`slipway serve`, or give --address HOST:PORT (8500 is TensorFlow Serving's gRPC port)"
                ) from error
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise RequestError(
                    f"{self._address} did not answer within {self._timeout:g} s: raise --timeout, or send fewer rows"
                ) from error
            advice = NOT_SERVED if code == grpc.StatusCode.NOT_FOUND else ""
            raise RequestError(f"{self._address} refused the request: {code.name}: {details}{advice}") from error
