"""Clients of a model server, TensorFlow Serving's or Slipway's own, over gRPC or REST.

```python
from serving.client import connect

with connect("localhost:8500", "taxi") as client:
    client.predict({"trip_miles": np.array([2.5], np.float32)}, signature="raw")
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from slipway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Any, Self

    from numpy.typing import NDArray

ClientProtocol = Literal["grpc", "rest"]
DEFAULT_ADDRESS: dict[ClientProtocol, str] = {"grpc": "localhost:8500", "rest": "localhost:8501"}
ATTEMPTS = 4
TIMEOUT_SECONDS = 10.0
# What to do about an answer NOT_FOUND.
NOT_SERVED = ". Name what the server has with --model and --version, or let it serve that"


class ModelClient(Protocol):
    """One model on one server.

    Every method raises `RequestError` where the server refuses the request, or does not answer in time; a server that
    is busy or not there is tried again, `ATTEMPTS` times in all.
    """

    def signatures(self) -> dict[str, Any]:
        """`SignatureDef` by name."""

    def states(self) -> dict[int, str]:
        """State of each version that the server knows: START, LOADING, AVAILABLE, UNLOADING or END."""

    def predict(
        self, inputs: Mapping[str, NDArray[Any]], signature: str = "serving_default"
    ) -> dict[str, NDArray[Any]]:
        """Outputs by name, batch first; strings are object arrays of bytes."""

    def classify(self, examples: Sequence[bytes], signature: str = "classify") -> list[dict[str, float]]:
        """Score of each class, for each serialized tf.Example."""

    def close(self) -> None:
        """Closes the connections."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def connect(
    address: str,
    model: str,
    *,
    protocol: ClientProtocol = "grpc",
    version: int | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> ModelClient:
    """A client of one model; nothing is sent before the first call.

    Args:
        address: HOST:PORT; over REST also a URL, for a server behind TLS or a prefix.
        model: The model's name on the server.
        protocol: What to speak.
        version: A version; without one, the server's newest.
        timeout_seconds: Over gRPC of a request with all its attempts; over REST of each attempt, until the server sends
            something.

    Raises:
        ConfigError: the address is not one.
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
