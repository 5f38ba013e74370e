"""TensorFlow Serving's MonitoringConfig, which its Python package does not ship.

Source: tensorflow_serving/config/monitoring_config.proto
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format


class MonitoringConfig(NamedTuple):
    """Whether metrics are exported for Prometheus, and where."""

    enabled: bool
    path: str

    @classmethod
    def parse(cls, text: str) -> MonitoringConfig:
        """Reads the text form.

        Raises:
            google.protobuf.text_format.ParseError: TensorFlow Serving would not start with it.
        """
        config = text_format.Parse(text, _message()()).prometheus_config
        return cls(config.enable, config.path)


@lru_cache
def _message() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="tests/monitoring_config.proto", package="tests.monitoring", syntax="proto3"
    )
    prometheus = file.message_type.add(name="PrometheusConfig")
    optional = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    prometheus.field.add(name="enable", number=1, label=optional, type=descriptor_pb2.FieldDescriptorProto.TYPE_BOOL)
    prometheus.field.add(name="path", number=2, label=optional, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING)
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config", number=1, label=optional, type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
        type_name=".tests.monitoring.PrometheusConfig",
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tests.monitoring.MonitoringConfig"))
