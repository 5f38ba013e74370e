"""The interface of the gRPC and the REST client, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from serving.protocol.protos import example_pb2
from serving.protocol.signatures import CLASSIFY, SERVING_DEFAULT
from slipway.errors import DataError, RequestError

ATTEMPTS = 4


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
    def predict(self, inputs: Mapping[str, NDArray[Any]], signature: str = SERVING_DEFAULT) -> dict[str, NDArray[Any]]:
        """Outputs by name, batch first; strings are object arrays of bytes."""

    @abstractmethod
    def classify(self, examples: Sequence[bytes], signature: str = CLASSIFY) -> list[dict[str, float]]:
        """Score of each class, for each serialized tf.Example.

        Raises:
            DataError: one is no tf.Example.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes the connections."""

    @abstractmethod
    def _signature_defs(self) -> Mapping[str, Any]: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _no_server(self, protocol: str, port: int, reason: object) -> RequestError:
        return RequestError(
            f"no model server answers at {self._address} over {protocol} ({reason}). Start one with `slipway serve`, "
            f"or give --address HOST:PORT ({port} is TensorFlow Serving's {protocol} port)"
        )

    def _timed_out(self) -> RequestError:
        return RequestError(
            f"{self._address} did not answer within {self._timeout:g} s: raise --timeout, or send fewer rows"
        )

    def _refused(self, reason: str, *, is_unknown: bool) -> RequestError:
        advice = ". Name what the server has with --model and --version, or let it serve that" if is_unknown else ""
        return RequestError(f"{self._address} refused the request: {reason}{advice}")


def parse_examples(serialized: Sequence[bytes]) -> list[Any]:
    """Serialized tf.Examples as messages.

    Raises:
        DataError: one is no tf.Example.
    """
    examples = []
    for number, content in enumerate(serialized, 1):
        try:
            examples.append(example_pb2.Example.FromString(content))
        except DecodeError as error:
            raise DataError(f"example {number} of {len(serialized)} is no tf.Example: {len(content)} bytes") from error
    return examples
