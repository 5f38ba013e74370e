"""What the log says of itself to Prometheus: each call that was sampled ends in one of the three counters."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class LogMetrics:
    """Counters and gauges of one log.

    Attributes:
        logged: Calls whose rows are in the sink.
        dropped: Calls left out to protect the server, by reason: `queue_full` (they come faster than they are parsed),
            `sink_full` (rows wait for the sink), `too_large` and `shutdown`.
        failed: Calls that could not be logged, by reason: `unparsable`, `write` after the last attempt, or
            `error`, an exception that the log did not expect.
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
