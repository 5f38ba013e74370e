"""The gRPC client; gRPC's own policy retries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from numpy.typing import NDArray

from serving.client import ATTEMPTS, ModelClient, parse_examples
from serving.protocol import protos
from serving.protocol.errors import HTTP_STATUS
from serving.protocol.limits import GRPC_UNLIMITED
from serving.protocol.signatures import CLASSIFY, SERVING_DEFAULT
from serving.protocol.tensor_protos import array_of, tensor_proto
from slipway.errors import RequestError

_RETRIES = {
    "maxAttempts": ATTEMPTS,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_OPTIONS = [
    *GRPC_UNLIMITED,
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRIES}]})),
    # A server on a private network is not behind the web's proxy.
    ("grpc.enable_http_proxy", 0),
]


class GrpcClient(ModelClient):
    """See `ModelClient`."""

    def __init__(self, address: str, model: str, version: int | None, timeout_seconds: float) -> None:
        super().__init__(address, timeout_seconds)
        self._spec = protos.model_pb2.ModelSpec(name=model)
        if version is not None:
            self._spec.version.value = version
        self._channel = grpc.insecure_channel(address, _OPTIONS)
        self._predictions = protos.prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = protos.model_service_pb2_grpc.ModelServiceStub(self._channel)

    def states(self) -> dict[int, str]:
        request = protos.get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec)
        answer = self._call(self._models.GetModelStatus, request)
        name = protos.get_model_status_pb2.ModelVersionStatus.State.Name
        return {status.version: name(status.state) for status in answer.model_version_status}

    def version(self) -> int:
        return int(self._metadata().model_spec.version.value)

    def predict(self, inputs: Mapping[str, NDArray[Any]], signature: str = SERVING_DEFAULT) -> dict[str, NDArray[Any]]:
        request = protos.predict_pb2.PredictRequest(model_spec=self._signed(signature))
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tensor_proto(values))
        answer = self._call(self._predictions.Predict, request)
        try:
            return {name: array_of(tensor) for name, tensor in answer.outputs.items()}
        except ValueError as error:
            raise RequestError(f"{self._address} answered a tensor that numpy cannot hold: {error}") from error

    def classify(self, examples: Sequence[bytes], signature: str = CLASSIFY) -> list[dict[str, float]]:
        request = protos.classification_pb2.ClassificationRequest(model_spec=self._signed(signature))
        request.input.example_list.examples.extend(parse_examples(examples))
        answer = self._call(self._predictions.Classify, request)
        return [{one.label: one.score for one in each.classes} for each in answer.result.classifications]

    def close(self) -> None:
        self._channel.close()

    def _signature_defs(self) -> Mapping[str, Any]:
        packed = self._metadata().metadata["signature_def"].value
        return dict(protos.get_model_metadata_pb2.SignatureDefMap.FromString(packed).signature_def)

    def _metadata(self) -> Any:
        request = protos.get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec, metadata_field=["signature_def"]
        )
        return self._call(self._predictions.GetModelMetadata, request)

    def _signed(self, signature: str) -> Any:
        spec = protos.model_pb2.ModelSpec(signature_name=signature)
        spec.MergeFrom(self._spec)
        return spec

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code == grpc.StatusCode.UNAVAILABLE:
                raise self._no_server("gRPC", 8500, details) from error
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise self._timed_out() from error
            raise self._refused(f"{code.name}: {details}", HTTP_STATUS.get(code, 500)) from error
