"""Where the log's files go: a thread that writes one after the other, and tries again."""

from __future__ import annotations

import logging
import queue
import threading

from serving.request_log.metrics import LogMetrics
from serving.request_log.parquet import LogFile
from slipway.remote.retries import retrying
from slipway.stores import storage

LOGGER = logging.getLogger("slipway.request_log")

ATTEMPTS = 3
PAUSE_SECONDS = 1.0  # doubled after each attempt


class Sink:
    """Writes files below a folder or a gs:// URI, atomically; what waits is bounded by who puts files in."""

    def __init__(self, uri: str, metrics: LogMetrics) -> None:
        storage.is_remote(uri)  # raises for a scheme that nothing could be written to
        self._uri = uri
        self._metrics = metrics
        self._files: queue.SimpleQueue[LogFile | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: dict[str, LogFile] = {}
        self._abandoned = threading.Event()
        self._writer = threading.Thread(target=self._write_all, name="request-log-writer", daemon=True)
        self._writer.start()

    @property
    def memory_bytes(self) -> int:
        """Bytes of all rows that are not written yet."""
        with self._lock:
            return sum(file.memory_bytes for file in self._waiting.values())

    def put(self, file: LogFile) -> None:
        """Takes a file to be written; nobody may add to it any more."""
        with self._lock:
            if not self._abandoned.is_set():
                self._waiting[file.name] = file
                self._files.put(file)
                return
        self._drop(file)

    def close(self, timeout: float) -> None:
        """Writes what waits, for at most `timeout` seconds; the rest is dropped and counted."""
        self._files.put(None)
        self._writer.join(timeout)
        with self._lock:
            self._abandoned.set()
            left, self._waiting = self._waiting, {}
        for file in left.values():
            self._drop(file)

    def _drop(self, file: LogFile) -> None:
        self._metrics.dropped.labels("shutdown").inc(file.calls)
        LOGGER.warning("%s: its %d calls are not written, the time to stop is over", file.name, file.calls)

    def _write_all(self) -> None:
        while (file := self._files.get()) is not None:
            written = self._is_written(file)
            with self._lock:
                if self._waiting.pop(file.name, None) is None:
                    return  # given up and counted by `close`
            if written:
                self._metrics.logged.inc(file.calls)
            else:
                self._metrics.failed.labels("write").inc(file.calls)

    def _is_written(self, file: LogFile) -> bool:
        uri = storage.join(self._uri, file.name)
        content = None

        def write() -> None:
            nonlocal content
            try:
                content = content or file.parquet()
                storage.write_bytes(uri, content)
            except Exception as error:
                LOGGER.warning("cannot write %s, up to %d attempts: %s", uri, ATTEMPTS, error)
                raise

        def pause(seconds: float) -> None:
            if self._abandoned.wait(seconds):
                raise TimeoutError

        try:
            retrying(Exception, attempts=ATTEMPTS, first_seconds=PAUSE_SECONDS, pause=pause)(write)
        except Exception:  # it is logged
            return False
        return True
