"""What both protocols do around an inference: time it, count it in the metrics, offer it to the request log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import grpc

from serving.protocol.errors import ServingError
from serving.request_log.call_rows import LoggedCall

if TYPE_CHECKING:
    from serving.request_log import RequestLog
    from serving.server.metrics import Metrics

T = TypeVar("T")


@dataclass
class Call:
    """An inference in progress; its handler fills in the fields."""

    model: str = ""
    version: int | None = None
    label: str = ""
    request: Any = None
    response: Any = None
    runtime_seconds: float | None = None

    def run(self, compute: Callable[..., T], *arguments: Any) -> T:
        """Runs the model, and times it."""
        begin = time.perf_counter()
        result = compute(*arguments)
        self.runtime_seconds = time.perf_counter() - begin
        return result


class CallRecorder:
    """Records inferences; many threads may call it at a time.

    Args:
        metrics: Count every inference.
        request_log: Gets each inference that succeeded; None keeps no log.
    """

    def __init__(self, metrics: Metrics, request_log: RequestLog | None) -> None:
        self._metrics = metrics
        self._request_log = request_log

    @contextmanager
    def record(self, protocol: Literal["rest", "grpc"], method: str, request_id: Callable[[], str]) -> Iterator[Call]:
        """Records one inference, which ends with the block; a ServingError is counted and passes through."""
        call, code = Call(), grpc.StatusCode.UNKNOWN
        started, begin = time.time(), time.perf_counter()
        try:
            yield call
            code = grpc.StatusCode.OK
        except ServingError as error:
            code = error.code
            raise
        finally:
            seconds = time.perf_counter() - begin
            self._metrics.observe(call.model, method, protocol.upper(), code, seconds, call.runtime_seconds)
        if self._request_log:
            self._request_log.offer(
                LoggedCall(
                    request_id=request_id(),
                    protocol=protocol,
                    method=method.lower(),
                    model=call.model,
                    version=call.version,
                    request=call.request,
                    response=call.response,
                    started=started,
                    latency_seconds=seconds,
                    label=call.label,
                )
            )
