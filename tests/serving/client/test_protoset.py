from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from serving.client.protoset import describe_services


def test_describe_services_alone_lets_a_tool_write_a_request() -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(describe_services()).file:
        pool.Add(file)

    service = pool.FindServiceByName("tensorflow.serving.PredictionService")
    request: Any = message_factory.GetMessageClass(service.methods_by_name["Predict"].input_type)()
    json_format.Parse('{"model_spec": {"name": "taxi"}, "inputs": {"fare": {"dtype": "DT_FLOAT"}}}', request)

    assert request.model_spec.name == "taxi"
    assert pool.FindServiceByName("tensorflow.serving.ModelService")
