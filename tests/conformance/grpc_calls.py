"""gRPC requests as short as the suite wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from serving.protocol.protos import (
    classification_pb2,
    example_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from serving.protocol.tensor_protos import tensor_proto
from tests.conformance.model import NAME

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Calls:
    """One method for each call; what is not given is right."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, _OPTIONS)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def spec(self, model: str = NAME, signature: str = "", version: int | None = None, label: str | None = None) -> Any:
        spec = model_pb2.ModelSpec(name=model, signature_name=signature)
        if version is not None:
            spec.version.value = version
        if label is not None:
            spec.version_label = label
        return spec

    def input(self, examples: Sequence[bytes], context: bytes | None = None) -> Any:
        given = input_pb2.Input()
        parsed = [example_pb2.Example.FromString(example) for example in examples]
        if context is None:
            given.example_list.examples.extend(parsed)
        else:
            given.example_list_with_context.examples.extend(parsed)
            given.example_list_with_context.context.MergeFromString(context)
        return given

    def predict(
        self,
        inputs: Mapping[str, Any] | None = None,
        signature: str = "",
        output_filter: Sequence[str] = (),
        **spec: Any,
    ) -> Any:
        request = predict_pb2.PredictRequest(model_spec=self.spec(signature=signature, **spec))
        request.output_filter.extend(output_filter)
        given = {"examples": np.array([b""], object)} if inputs is None else inputs
        for name, value in given.items():
            request.inputs[name].CopyFrom(tensor_proto(value))
        return self.predictions.Predict(request)

    def classify(
        self,
        examples: Sequence[bytes] = (b"",),
        context: bytes | None = None,
        signature: str = "classify",
        **spec: Any,
    ) -> Any:
        return self.predictions.Classify(
            classification_pb2.ClassificationRequest(
                model_spec=self.spec(signature=signature, **spec), input=self.input(examples, context)
            )
        )

    def regress(self, examples: Sequence[bytes] = (b"",), signature: str = "regress", **spec: Any) -> Any:
        return self.predictions.Regress(
            regression_pb2.RegressionRequest(
                model_spec=self.spec(signature=signature, **spec), input=self.input(examples)
            )
        )

    def metadata(self, fields: Sequence[str] = ("signature_def",), **spec: Any) -> Any:
        return self.predictions.GetModelMetadata(
            get_model_metadata_pb2.GetModelMetadataRequest(model_spec=self.spec(**spec), metadata_field=fields)
        )

    def status(self, **spec: Any) -> Any:
        return self.models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec=self.spec(**spec)))
