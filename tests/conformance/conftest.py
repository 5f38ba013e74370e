"""The server under test: that of the environment, or Slipway's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.addresses import Addresses
from tests.conformance.grpc_calls import Calls
from tests.conformance.rest_calls import RestCalls


@pytest.fixture(scope="session")
def addresses(request: pytest.FixtureRequest) -> Iterator[Addresses]:
    """Where the server of the model `conformance` listens."""
    given = Addresses(os.environ.get("SLIPWAY_CONFORMANCE_GRPC", ""), _rest_of_environment())
    if given.grpc or given.rest:
        yield given
        return
    from serving.server.config import ServerConfig
    from serving.server.model_sources import ConfigFile
    from serving.server.server import ModelServer

    models: Path = request.getfixturevalue("conformance_models")  # not written where another server is tested
    source = ConfigFile(models / "models.config", allow_unavailable_labels=True)
    with ModelServer(source, ServerConfig(grpc_port=0, rest_port=0)) as server:
        yield Addresses(f"127.0.0.1:{server.grpc_port}", f"127.0.0.1:{server.rest_port}", models)


def _rest_of_environment() -> str:
    return os.environ.get("SLIPWAY_CONFORMANCE_REST", "").removeprefix("http://").rstrip("/")


@pytest.fixture(scope="session")
def grpc_address(addresses: Addresses) -> str:
    """HOST:PORT for gRPC."""
    if not addresses.grpc:
        pytest.skip("SLIPWAY_CONFORMANCE_GRPC is not set")
    return addresses.grpc


@pytest.fixture(scope="session")
def rest_address(addresses: Addresses) -> str:
    """HOST:PORT for REST."""
    if not addresses.rest:
        pytest.skip("SLIPWAY_CONFORMANCE_REST is not set")
    return addresses.rest


@pytest.fixture(scope="session")
def calls(grpc_address: str) -> Iterator[Calls]:
    """gRPC requests to the server."""
    calls = Calls(grpc_address)
    yield calls
    calls.channel.close()


@pytest.fixture(scope="session")
def rest(rest_address: str) -> RestCalls:
    """REST requests to the server."""
    return RestCalls(rest_address)


@pytest.fixture(scope="session")
def is_ours() -> bool:
    """Whether the server is the one of this repository: a few of its answers go beyond TensorFlow Serving's."""
    return not any(name.startswith("SLIPWAY_CONFORMANCE_") for name in os.environ)


@pytest.fixture(scope="session")
def serves_health() -> bool:
    """Whether the server is known to answer grpc.health."""
    return "SLIPWAY_CONFORMANCE_GRPC" not in os.environ
