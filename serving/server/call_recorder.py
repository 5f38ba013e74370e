"""What both protocols do around an inference: time it, count it in the metrics, offer it to the request log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import grpc

from serving.protocol.errors import ServingError
from serving.request_log import RequestLog
from serving.request_log.call_rows import LoggedCall
from serving.server.metrics import Metrics
from serving.server.model_manager import ModelManager

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


@dataclass(frozen=True)
class CallRecorder:
    """Counts and logs every inference. Many threads may call it at a time."""

    metrics: Metrics
    request_log: RequestLog | None
    manager: ModelManager

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
            self.metrics.observe(call.model, method, protocol.upper(), code, seconds, call.runtime_seconds)
            failed = code is not grpc.StatusCode.OK
            if self.request_log and call.model and code is not grpc.StatusCode.NOT_FOUND:
                self.request_log.offer(
                    LoggedCall(
                        request_id=request_id(),
                        protocol=protocol,
                        method=method.lower(),
                        model=call.model,
                        version=self._version(call) if failed else call.version,
                        request=b"" if failed else call.request,
                        response=b"" if failed else call.response,
                        started=started,
                        latency_seconds=seconds,
                        label=call.label,
                        error=code.name if failed else "",
                    )
                )

    def _version(self, call: Call) -> int | None:
        """The version that a call which failed was for; None if there is none."""
        try:
            with self.manager.use(call.model, call.version, call.label or None) as servable:
                return servable.version
        except ServingError:
            return None
