"""The request log: a bounded queue, a thread that parses, and a thread that writes.

Parsing has its own thread so that a whole request, with fields that may not be logged, is never kept longer than
parsing takes, even if the sink hangs.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge

from serving.request_log.call_rows import MAX_CALL_BYTES, METHODS, LoggedCall, TooLargeError, parse_call
from serving.request_log.features import Fields
from serving.request_log.parquet import LogFile, folder_of, schema
from slipway.errors import ConfigError
from slipway.remote.retries import retrying, tried
from slipway.stores import storage

LOGGER = logging.getLogger("slipway.request_log")

WRITE_ATTEMPTS = 3
PAUSE_SECONDS = 1.0  # doubled after each attempt


@dataclass(frozen=True)
class LogOptions:
    """What is logged, and where.

    Attributes:
        sink: A local folder, gs:// or s3:// URI.
        sample: Share of calls, 0 to 1.
        fields: Names of features that may be logged; `*` for all, none by default.
        rotate_seconds: Age of its oldest row at which a file is written.
        rotate_bytes: Memory of all open files' rows at which they are written; Parquet is several times smaller.
        queue_calls: Maximum number of calls waiting to be parsed.
        queue_bytes: Maximum size of their requests and answers.
        buffer_bytes: Maximum size of rows waiting to be written.
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
        if self.rotate_seconds <= 0 or not 0 < self.rotate_bytes <= self.buffer_bytes // 2:
            raise ConfigError(
                f"the request log rotates after a positive time and size, at most {self.buffer_bytes // 2} bytes: "
                f"not after {self.rotate_seconds} s, {self.rotate_bytes} bytes"
            )


def is_sampled(request_id: str, rate: float) -> bool:
    """Whether a sample of share `rate` includes a call.

    The first 64 bits of the id's SHA-256 decide, so that all processes agree, and a smaller sample is part of a larger.
    """
    if rate >= 1:
        return True
    number = int.from_bytes(hashlib.sha256(request_id.encode(errors="replace")).digest()[:8], "big")
    return number < rate * 2**64


class RequestLog:
    """Takes calls from any thread; to be closed, or used as a context manager.

    Args:
        options: What is logged, and where.
        registry: Takes the metrics.
        version_of: The version of a model and a label, for calls that do not name one.
    """

    def __init__(
        self,
        options: LogOptions,
        registry: CollectorRegistry | None = None,
        version_of: Callable[[str, str], int | None] = lambda model, label: None,
    ) -> None:
        storage.is_remote(options.sink)  # raises for a scheme that nothing could be written to
        self._options = options
        self._version_of = version_of
        self._fields = Fields(options.fields)
        self._metrics = _Metrics(registry or CollectorRegistry())
        self._calls: deque[tuple[LoggedCall, int]] = deque()  # to be parsed
        self._calls_bytes = 0
        self._open_files: dict[str, LogFile] = {}  # by folder; the parser's own
        self._full_files: deque[LogFile] = deque()  # to be written
        self._lock = threading.Lock()
        self._call_came, self._file_came = threading.Condition(self._lock), threading.Condition(self._lock)
        self._closing = self._parsed = False
        self._abandoned = threading.Event()
        self._metrics.queued.set_function(lambda: len(self._calls))
        self._metrics.waiting.set_function(self._waiting_bytes)
        self._parser = threading.Thread(target=self._parse_all, name="request-log-parser", daemon=True)
        self._writer = threading.Thread(target=self._write_all, name="request-log-writer", daemon=True)
        self._parser.start()
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def offer(self, call: LoggedCall) -> None:
        """Takes a call if it belongs to the sample and there is room; never waits and never raises."""
        try:
            if call.method not in METHODS or not self.wants(call.request_id):
                return
            size = call.size
            with self._lock:
                waiting = self._calls_bytes + size
                if size > MAX_CALL_BYTES:
                    self._metrics.drop("too_large")
                elif self._closing:
                    self._metrics.drop("shutdown")
                elif len(self._calls) >= self._options.queue_calls or waiting > self._options.queue_bytes:
                    self._metrics.drop("queue_full")
                else:
                    self._calls.append((call, size))
                    self._calls_bytes = waiting
                    if len(self._calls) == 1:
                        self._call_came.notify()
        except Exception:
            LOGGER.exception("a call cannot be logged")
            self._metrics.fail("error")

    def wants(self, request_id: str) -> bool:
        """Whether a call belongs to the sample."""
        return is_sampled(request_id, self._options.sample)

    def miss(self, reason: str) -> None:
        """Counts a call whose messages could not be kept for the log."""
        self._metrics.drop(reason)

    def close(self, timeout: float = 20.0) -> None:
        """Parses and writes waiting calls for up to `timeout` seconds; the rest is dropped and counted."""
        deadline = time.monotonic() + timeout
        with self._lock:
            self._closing = True
            self._call_came.notify()
        for thread in (self._parser, self._writer):
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._abandoned.set()
            self._metrics.drop("shutdown", len(self._calls))
            self._calls.clear()
            while self._full_files:
                self._abandon(self._full_files.popleft())

    def _parse_all(self) -> None:
        schema()  # imports Arrow before the first call needs it
        while not self._parsed:
            with self._lock:
                if not self._calls and not self._closing:
                    self._call_came.wait(self._seconds_to_rotation())
                call, size = self._calls.popleft() if self._calls else (None, 0)
                self._calls_bytes -= size
                is_over = call is None and self._closing
            if call is not None:
                self._add(call, size)
            self._rotate(whole=is_over)

    def _add(self, call: LoggedCall, size: int) -> None:
        if self._waiting_bytes() + size > self._options.buffer_bytes:
            self._metrics.drop("sink_full")
            return
        try:
            parsed = parse_call(call, self._fields)
            version = self._version_of(parsed.model, call.label) if parsed.version is None else parsed.version
            if call.error and version is None:  # nobody may make folders by asking for models that are not there
                self._metrics.drop("unknown_model")
                return
            folder = folder_of(parsed.model, call.started)
            file = self._open_files.get(folder) or LogFile(folder, time.monotonic())
            file.append(parsed.rows(call, version), size)
            self._open_files[folder] = file
        except TooLargeError as error:
            LOGGER.debug("a call of %s is too large for the log: %s", call.model, error)
            self._metrics.drop("too_large")
        except Exception as error:
            # Its text may quote the request.
            LOGGER.debug("a call of %s cannot be logged: %s", call.model, type(error).__name__)
            self._metrics.fail("unparsable")

    def _rotate(self, *, whole: bool) -> None:
        now = time.monotonic()
        full = sum(file.memory_bytes for file in self._open_files.values()) >= self._options.rotate_bytes
        over = [
            folder
            for folder, file in self._open_files.items()
            if whole or full or now - file.opened >= self._options.rotate_seconds
        ]
        if not over and not whole:
            return
        with self._lock:
            for file in map(self._open_files.pop, over):
                if self._abandoned.is_set():
                    self._abandon(file)
                else:
                    self._full_files.append(file)
            self._parsed = whole
            self._file_came.notify()

    def _seconds_to_rotation(self) -> float | None:
        if not self._open_files:
            return None
        oldest = min(file.opened for file in self._open_files.values())
        return max(0.0, oldest + self._options.rotate_seconds - time.monotonic())

    def _waiting_bytes(self) -> int:
        with self._lock:
            files = [*self._open_files.values(), *self._full_files]
        return sum(file.memory_bytes for file in files)

    def _write_all(self) -> None:
        while True:
            with self._lock:
                self._file_came.wait_for(lambda: self._full_files or self._parsed)
                if not self._full_files:
                    return
                file = self._full_files[0]
            written = self._is_written(file)
            with self._lock:
                if self._abandoned.is_set():
                    return  # counted by `close`
                self._full_files.popleft()
            if written:
                self._metrics.logged.inc(file.calls)
            else:
                self._metrics.fail("write", file.calls)

    def _is_written(self, file: LogFile) -> bool:
        uri = storage.join(self._options.sink, file.name)

        def pause(seconds: float) -> None:
            if self._abandoned.wait(seconds):
                raise TimeoutError("the shutdown timed out")

        try:
            write = retrying(Exception, attempts=WRITE_ATTEMPTS, first_seconds=PAUSE_SECONDS, pause=pause)
            write(storage.write_bytes, uri, file.parquet())
        except Exception as error:
            LOGGER.warning("cannot write %s%s: %s", uri, tried(error), error)
            return False
        return True

    def _abandon(self, file: LogFile) -> None:
        self._metrics.drop("shutdown", file.calls)
        LOGGER.warning("%s: its %d calls are lost, the shutdown timed out", file.name, file.calls)


class _Metrics:
    """The log's own metrics for Prometheus: each sampled call ends in one of the three counters.

    Calls are dropped to protect the server: `queue_full` says that parsing is too slow, `sink_full` that writing is,
    `busy` that the messages of all calls in flight are too large together;
    `unknown_model` are calls that failed, of a model that is not there.
    They fail as `unparsable`, in the last attempt to `write`, or by an unexpected `error`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "slipway_request_log"
        self.logged = Counter(f"{name}_logged", "Calls written to the sink.", registry=registry)
        self._dropped = Counter(f"{name}_dropped", "Calls left out.", ["reason"], registry=registry)
        self._failed = Counter(f"{name}_failed", "Calls that could not be logged.", ["reason"], registry=registry)
        self.queued = Gauge(f"{name}_queue_calls", "Calls that wait to be parsed.", registry=registry)
        self.waiting = Gauge(f"{name}_waiting_bytes", "Bytes of rows that wait to be written.", registry=registry)
        for reason in ("busy", "queue_full", "sink_full", "too_large", "unknown_model", "shutdown"):
            self.drop(reason, 0)
        for reason in ("unparsable", "write", "error"):
            self.fail(reason, 0)

    def drop(self, reason: str, calls: int = 1) -> None:
        self._dropped.labels(reason).inc(calls)

    def fail(self, reason: str, calls: int = 1) -> None:
        self._failed.labels(reason).inc(calls)
