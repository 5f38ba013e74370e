"""One call as the log is offered it, and whether it belongs to the sample."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

METHODS = ("predict", "classify", "regress")


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A call that was answered well.

    Attributes:
        request_id: The client's `x-request-id`, or one made for it.
        protocol: How it came.
        method: `predict`, `classify` or `regress`; calls of other methods are not logged.
        model: The model's name; empty if it stands in the request message.
        version: The version that answered; None if it stands in the response message, or is not known.
        request: REST: the body. gRPC: the request message, or its bytes.
        response: The same of the answer.
        started: Seconds since the epoch.
        latency_seconds: From the request's arrival to the answer.
        label: The version label that was asked for; empty for none.
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


def is_sampled(request_id: str, rate: float) -> bool:
    """Whether a share `rate` of all calls includes this one.

    Decided by the first 64 bits of the id's SHA-256, so that every process decides alike, and a call in a small sample
    is in each larger one.
    """
    if rate >= 1:
        return True
    number = int.from_bytes(hashlib.sha256(request_id.encode(errors="replace")).digest()[:8], "big")
    return number < rate * 2**64
