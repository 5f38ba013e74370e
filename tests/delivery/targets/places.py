"""Targets whose server is a fake one."""

from __future__ import annotations

from typing import Any

from delivery.targets.connection import KubeflowConfig, VertexConfig
from delivery.targets.kubeflow import KubeflowTarget
from delivery.targets.vertex import VertexTarget
from settings.schema import Kubeflow, Vertex
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.vertex import FakeVertex
from tests.fakes.vertex.server import LOCATION, PROJECT

ROOT = "gs://bucket/artifacts"


def on_kubeflow(server: FakeKubeflow, environment: str = "staging", **changes: Any) -> KubeflowTarget:
    values = {"endpoint": server.url, "pipeline_root": ROOT, "timeout_seconds": 5} | changes
    return KubeflowTarget(KubeflowConfig(environment=environment, **Kubeflow(**values).model_dump()))


def on_vertex(server: FakeVertex, environment: str = "staging", **changes: Any) -> VertexTarget:
    values = {"project": PROJECT, "location": LOCATION, "pipeline_root": ROOT, "endpoint": server.url,
              "logging_endpoint": server.url, "timeout_seconds": 5} | changes  # fmt: skip
    return VertexTarget(VertexConfig(environment=environment, **Vertex(**values).model_dump()))
