"""Kubeflow Pipelines' API v2beta1 for tests: it keeps what the real one keeps and refuses what that refuses."""

from tests.fakes.kubeflow.server import FakeKubeflow

__all__ = ["FakeKubeflow"]
