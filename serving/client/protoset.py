"""The services of a model server as a `FileDescriptorSet`.

The messages bring their descriptors. Today's protobuf cannot import the service files of `tensorflow-serving-api`, from
an older protoc, so their methods are listed here, as in `tensorflow_serving/apis/*_service.proto`.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2

from serving.protocol import protos

PACKAGE = "tensorflow.serving"
# Methods by service, and for each the module of its messages and the name that they begin with.
SERVICES: dict[str, dict[str, tuple[Any, str]]] = {
    "PredictionService": {
        "Classify": (protos.classification_pb2, "Classification"),
        "Regress": (protos.regression_pb2, "Regression"),
        "Predict": (protos.predict_pb2, "Predict"),
        "MultiInference": (protos.inference_pb2, "MultiInference"),
        "GetModelMetadata": (protos.get_model_metadata_pb2, "GetModelMetadata"),
    },
    "ModelService": {
        "GetModelStatus": (protos.get_model_status_pb2, "GetModelStatus"),
        "HandleReloadConfigRequest": (protos.model_management_pb2, "ReloadConfig"),
    },
}


def describe_services() -> bytes:
    """Both services and all their messages, serialized; each file comes after those that it imports."""
    found = descriptor_pb2.FileDescriptorSet()
    seen: set[str] = set()

    def add(file: Any) -> None:
        if file.name not in seen:
            seen.add(file.name)
            for dependency in file.dependencies:
                add(dependency)
            file.CopyToProto(found.file.add())

    services = descriptor_pb2.FileDescriptorProto(name="services.proto", package=PACKAGE, syntax="proto3")
    for service, methods in SERVICES.items():
        described = services.service.add(name=service)
        for method, (module, name) in methods.items():
            add(module.DESCRIPTOR)
            services.dependency.append(module.DESCRIPTOR.name)
            described.method.add(
                name=method, input_type=f".{PACKAGE}.{name}Request", output_type=f".{PACKAGE}.{name}Response"
            )
    found.file.append(services)
    return found.SerializeToString(deterministic=True)
