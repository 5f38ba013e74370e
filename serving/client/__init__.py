"""Clients of a model server, TensorFlow Serving's or Slipway's own, over gRPC or REST.

```python
from serving.client import connect

with connect("localhost:8500", "taxi") as client:
    client.predict({"trip_miles": np.array([2.5], np.float32)}, signature="raw")
```
"""

from __future__ import annotations

from typing import Literal

from serving.client.model_client import ATTEMPTS, ModelClient
from slipway.errors import ConfigError

ClientProtocol = Literal["grpc", "rest"]
DEFAULT_ADDRESS: dict[ClientProtocol, str] = {"grpc": "localhost:8500", "rest": "localhost:8501"}
TIMEOUT_SECONDS = 10.0

__all__ = ["ATTEMPTS", "DEFAULT_ADDRESS", "TIMEOUT_SECONDS", "ClientProtocol", "ModelClient", "connect"]


def connect(
    address: str,
    model: str,
    *,
    protocol: ClientProtocol = "grpc",
    version: int | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> ModelClient:
    """Makes a client of one model; nothing is sent before the first call.

    Args:
        address: HOST:PORT; over REST also a URL, for a server behind TLS or a prefix.
        model: The model's name on the server.
        protocol: gRPC or REST.
        version: A version; by default the server's newest.
        timeout_seconds: Over gRPC for a request with all its attempts; over REST for each attempt.

    Raises:
        ConfigError: the address is malformed.
    """
    host, _, port = address.removeprefix("http://").removeprefix("https://").partition("/")[0].rpartition(":")
    is_url = "://" in address
    if (is_url and protocol == "grpc") or not (address.startswith("https://") or (host and port.isdigit())):
        raise ConfigError(f"--address {address}: give HOST:PORT, as in {DEFAULT_ADDRESS[protocol]}")
    if protocol == "grpc":
        from serving.client.grpc_client import GrpcClient

        return GrpcClient(address, model, version, timeout_seconds)
    from serving.client.rest_client import RestClient

    return RestClient(address, model, version, timeout_seconds)
