"""Vertex AI's pipeline and schedule API, and Cloud Logging's, for tests: strict about all that is sent."""

from tests.fakes.vertex.server import FakeVertex

__all__ = ["FakeVertex"]
