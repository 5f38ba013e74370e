"""Kubeflow Pipelines' API v2beta1 for tests: it keeps what the real one keeps and refuses what that refuses."""

from tests.kubeflow_api.server import FakeKubeflow

__all__ = ["FakeKubeflow"]
