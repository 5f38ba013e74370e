"""A call as it is offered to the request log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

METHODS = ("predict", "classify", "regress")


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A call that succeeded.

    Attributes:
        request_id: The client's `x-request-id`, or a new one.
        protocol: `rest` or `grpc`.
        method: `predict`, `classify` or `regress`; calls of other methods are not logged.
        model: The model's name; empty if the request message has it.
        version: The version that answered; None if unknown, or if the response message has it.
        request: REST: the body. gRPC: the request message, or its bytes.
        response: The answer, in the same form.
        started: Seconds since the epoch.
        latency_seconds: From the request's arrival to the answer.
        label: The version label in the request; empty for none.
    """

    request_id: str
    protocol: Literal["rest", "grpc"]
    method: str
    model: str
    version: int | None
    request: Any
    response: Any
    started: float
    latency_seconds: float
    label: str = ""

    @property
    def size(self) -> int:
        """Bytes of request and response."""
        return sum(len(each) if isinstance(each, bytes) else each.ByteSize() for each in (self.request, self.response))
