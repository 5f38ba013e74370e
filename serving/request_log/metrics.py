"""The log's own metrics for Prometheus: each sampled call ends in one of three counters."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class LogMetrics:
    """Counters and gauges of one log.

    Attributes:
        logged: Calls whose rows are in the sink.
        dropped: Calls dropped to protect the server, by reason: `queue_full` (parsing is too slow), `sink_full`
            (writing is too slow), `too_large` and `shutdown`.
        failed: Calls that could not be logged, by reason: `unparsable`, `write` after the last attempt, or `error`, an
            unexpected exception.
        queued: Calls that wait to be parsed.
        waiting: Bytes of rows that wait to be written.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "slipway_request_log"
        self.logged = Counter(f"{name}_logged", "Calls written to the sink.", registry=registry)
        self.dropped = Counter(f"{name}_dropped", "Calls left out.", ["reason"], registry=registry)
        self.failed = Counter(f"{name}_failed", "Calls that could not be logged.", ["reason"], registry=registry)
        self.queued = Gauge(f"{name}_queue_calls", "Calls that wait to be parsed.", registry=registry)
        self.waiting = Gauge(f"{name}_waiting_bytes", "Bytes of rows that wait to be written.", registry=registry)
        for reason in ("queue_full", "sink_full", "too_large", "shutdown"):
            self.dropped.labels(reason)
        for reason in ("unparsable", "write", "error"):
            self.failed.labels(reason)
