"""Clients of a model server, TensorFlow Serving's or Slipway's own, over gRPC or REST.

```python
from serving.client import connect

with connect("localhost:8500", "taxi") as client:
    client.predict_rows([{"trip_miles": 2.5, "company": None}, {"fare": 12.5}])
```
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, Self

from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from serving.protocol.protos import example_pb2
from serving.protocol.signatures import CLASSIFY, RAW, SERVING_DEFAULT
from slipway.errors import ConfigError, DataError, RequestError

ATTEMPTS = 4
TIMEOUT_SECONDS = 10.0
ClientProtocol = Literal["grpc", "rest"]
DEFAULT_ADDRESS: dict[ClientProtocol, str] = {"grpc": "localhost:8500", "rest": "localhost:8501"}


class ModelClient(ABC):
    """One model on one server.

    Every method raises `RequestError` where the server refuses the request, or does not answer in time. A server that
    is busy or not there is tried again, `ATTEMPTS` times in all.
    """

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self._address = address
        self._timeout = timeout_seconds

    def signatures(self) -> dict[str, Any]:
        """`SignatureDef` by name."""
        # `__saved_model_init_op` is the loader's, not the clients'.
        return {name: each for name, each in self._signature_defs().items() if not name.startswith("__")}

    @abstractmethod
    def states(self) -> dict[int, str]:
        """State of each version that the server knows: START, LOADING, AVAILABLE, UNLOADING or END."""

    @abstractmethod
    def version(self) -> int:
        """The version that answers where a request names none; the client's own, if it names one."""

    @abstractmethod
    def predict(self, inputs: Mapping[str, NDArray[Any]], signature: str = SERVING_DEFAULT) -> dict[str, NDArray[Any]]:
        """Outputs by name, batch first; strings are object arrays of bytes."""

    def predict_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Outputs of each row, asked for in one request; a value that is None, or left out of a row, is missing.

        Raises:
            DataError: there are no rows, no column of the model, or a value has a wrong type.
        """
        from serving.client.rows import input_features, predict_rows, table_of

        features = input_features(self.signatures())
        return list(predict_rows(self, table_of(rows, features, "the request"), features, RAW, len(rows)))

    @abstractmethod
    def classify(self, examples: Sequence[bytes], signature: str = CLASSIFY) -> list[dict[str, float]]:
        """Score of each class, for each serialized tf.Example.

        Raises:
            DataError: one is not a tf.Example.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes the connections."""

    @abstractmethod
    def _signature_defs(self) -> Mapping[str, Any]: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _no_server(self, protocol: str, port: int, reason: object) -> RequestError:
        return RequestError(
            f"no model server answers at {self._address} over {protocol} ({reason}). Start one with `slipway serve`, "
            f"or give --address HOST:PORT ({port} is TensorFlow Serving's {protocol} port)"
        )

    def _timed_out(self) -> RequestError:
        return RequestError(
            f"{self._address} did not answer within {self._timeout:g} s: raise --timeout, or send fewer rows",
            status=HTTPStatus.GATEWAY_TIMEOUT,
        )

    def _refused(self, reason: str, status: int) -> RequestError:
        is_unknown = status == HTTPStatus.NOT_FOUND
        advice = ". Name a model and a --version that the server has, or let it serve that" if is_unknown else ""
        return RequestError(f"{self._address} refused the request: {reason}{advice}", status)


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
        version: By default the server's newest.
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


def parse_examples(serialized: Sequence[bytes]) -> list[Any]:
    """Serialized tf.Examples as messages.

    Raises:
        DataError: one is not a tf.Example.
    """
    examples = []
    for number, content in enumerate(serialized, 1):
        try:
            examples.append(example_pb2.Example.FromString(content))
        except DecodeError as error:
            raise DataError(
                f"example {number} of {len(serialized)} is not a tf.Example ({len(content)} bytes)"
            ) from error
    return examples
