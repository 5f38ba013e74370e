"""The request log: a bounded queue, a thread that parses, and a thread that writes.

Parsing has its own thread so that a whole request, with fields that may not be logged, is never kept longer than
parsing takes, even if the sink hangs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry

from serving.request_log.call import METHODS, LoggedCall
from serving.request_log.call_rows import MAX_CALL_BYTES, TooLargeError, parse_call
from serving.request_log.features import Fields
from serving.request_log.metrics import LogMetrics
from serving.request_log.parquet import LogFile, Partition, schema
from serving.request_log.sampling import is_sampled
from serving.request_log.sink import Sink
from slipway.errors import ConfigError

LOGGER = logging.getLogger("slipway.request_log")

VersionOf = Callable[[str, str], int | None]


@dataclass(frozen=True)
class LogOptions:
    """What is logged, and where.

    Attributes:
        sink: A local folder or a gs:// URI.
        sample: Share of calls, 0 to 1.
        fields: Names of features that may be logged; `*` for all, none by default.
        rotate_seconds: A file is written when its oldest row is this old,
        rotate_bytes: or when the rows of all open files take this much memory; Parquet is several times smaller.
        queue_calls: Maximum of calls that wait to be parsed,
        queue_bytes: and of the bytes of their requests and answers.
        buffer_bytes: Maximum of bytes of rows that wait to be written.
    """

    sink: str
    sample: float = 1.0
    fields: tuple[str, ...] = ()
    rotate_seconds: float = 300.0
    rotate_bytes: int = 16 << 20
    queue_calls: int = 10_000
    queue_bytes: int = 32 << 20
    buffer_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if not 0 <= self.sample <= 1:
            raise ConfigError(f"the request log's sample is a share from 0 to 1, not {self.sample}")
        if self.rotate_seconds <= 0 or not 0 < self.rotate_bytes <= self.buffer_bytes // 2:
            raise ConfigError(
                f"the request log rotates after a positive time and size, at most {self.buffer_bytes // 2} bytes: "
                f"not after {self.rotate_seconds} s, {self.rotate_bytes} bytes"
            )


class RequestLog:
    """Takes calls from any thread; to be closed, or used as a context manager.

    Args:
        options: What is logged, and where.
        registry: Takes the metrics.
        version_of: The version of a model and a label, for calls that do not name one.
    """

    def __init__(
        self, options: LogOptions, registry: CollectorRegistry | None = None, version_of: VersionOf | None = None
    ) -> None:
        self._options = options
        self._version_of = version_of or (lambda model, label: None)
        self._fields = Fields(options.fields)
        self._metrics = LogMetrics(registry or CollectorRegistry())
        self._queue: deque[tuple[LoggedCall, int]] = deque()
        self._queued_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._files: dict[Partition, LogFile] = {}
        self._sink = Sink(options.sink, self._metrics)
        self._metrics.queued.set_function(lambda: len(self._queue))
        self._metrics.waiting.set_function(self._waiting_bytes)
        self._parser = threading.Thread(target=self._parse_all, name="request-log-parser", daemon=True)
        self._parser.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def offer(self, call: LoggedCall) -> None:
        """Takes a call if it belongs to the sample and there is room; never waits and never raises."""
        try:
            if call.method not in METHODS or not is_sampled(call.request_id, self._options.sample):
                return
            size = call.size
            if size > MAX_CALL_BYTES:
                self._metrics.dropped.labels("too_large").inc()
                return
            with self._changed:
                full = len(self._queue) >= self._options.queue_calls or (
                    self._queued_bytes + size > self._options.queue_bytes
                )
                refused = "shutdown" if self._closing else "queue_full" if full else ""
                if not refused:
                    self._queue.append((call, size))
                    self._queued_bytes += size
                    if len(self._queue) == 1:
                        self._changed.notify()
            if refused:
                self._metrics.dropped.labels(refused).inc()
        except Exception:
            LOGGER.exception("a call cannot be logged")
            self._metrics.failed.labels("error").inc()

    def close(self, timeout: float = 20.0) -> None:
        """Parses and writes waiting calls for up to `timeout` seconds; the rest is dropped and counted."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._parser.join(timeout)
        with self._changed:
            self._metrics.dropped.labels("shutdown").inc(len(self._queue))
            self._queue.clear()
        self._sink.close(max(0.0, deadline - time.monotonic()))

    def _parse_all(self) -> None:
        schema()  # imports Arrow before the first call needs it
        while True:
            with self._changed:
                if not self._queue and not self._closing:
                    self._changed.wait(self._seconds_to_rotation())
                call, size = self._queue.popleft() if self._queue else (None, 0)
                self._queued_bytes -= size
            if call is not None:
                self._add(call, size)
            self._rotate(whole=call is None and self._closing)
            if call is None and self._closing:
                return

    def _add(self, call: LoggedCall, size: int) -> None:
        if self._waiting_bytes() + size > self._options.buffer_bytes:
            self._metrics.dropped.labels("sink_full").inc()
            return
        try:
            parsed = parse_call(call, self._fields)
            version = parsed.version
            if version is None:
                version = self._version_of(parsed.model, call.label)
            partition = Partition.of(parsed.model, call.started)
            file = self._files.get(partition) or LogFile(partition, time.monotonic())
            file.append(parsed.rows(call, version), size)
            self._files[partition] = file
        except TooLargeError as error:
            LOGGER.debug("a call of %s is too large for the log: %s", call.model, error)
            self._metrics.dropped.labels("too_large").inc()
        except Exception as error:
            # Its text may quote the request.
            LOGGER.debug("a call of %s cannot be logged: %s", call.model, type(error).__name__)
            self._metrics.failed.labels("unparsable").inc()

    def _rotate(self, *, whole: bool) -> None:
        now = time.monotonic()
        full = sum(file.memory_bytes for file in self._files.values()) >= self._options.rotate_bytes
        for partition, file in list(self._files.items()):
            if whole or full or now - file.opened >= self._options.rotate_seconds:
                self._sink.put(self._files.pop(partition))

    def _seconds_to_rotation(self) -> float | None:
        if not self._files:
            return None
        oldest = min(file.opened for file in self._files.values())
        return max(0.0, oldest + self._options.rotate_seconds - time.monotonic())

    def _waiting_bytes(self) -> int:
        return self._sink.memory_bytes + sum(file.memory_bytes for file in list(self._files.values()))
